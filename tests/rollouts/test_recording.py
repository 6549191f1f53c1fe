"""What a recorder of CUDA graphs asks of torch, and what it does where a capture fails.

On a stand-in for `torch.cuda`; real captures are in `test_static_state.py` (`pytest -m gpu`).
"""

import logging
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from oneshot_rlvr.rollouts import recording
from oneshot_rlvr.rollouts.recording import GraphRecorder


class FakeCUDA:
    """Stands for `torch.cuda` on a machine without: notes the order, replays work.

    Of captures with these numbers the end fails, and leaves its stream in force as torch does.
    """

    def __init__(self, monkeypatch, failing=()):
        self.log, self.stream_now, self.captures, self.failing = [], "main", 0, failing
        for name in ("stream", "graph", "current_stream", "CUDAGraph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        side = SimpleNamespace(name="side", wait_stream=self.waits("side"))
        monkeypatch.setattr(recording, "_side_stream", lambda device: side)
        monkeypatch.setattr(GraphRecorder, "failed", False)

    def waits(self, name):
        return lambda other: self.log.append(f"{name} waits for {other.name}")

    def current_stream(self):
        return SimpleNamespace(name=self.stream_now, wait_stream=self.waits(self.stream_now))

    @contextmanager
    def stream(self, stream):
        before, self.stream_now = self.stream_now, stream.name
        try:
            yield
        finally:
            self.stream_now = before

    def CUDAGraph(self):
        graph = SimpleNamespace(work=None, number=self.captures)
        graph.replay = lambda: self.replay(graph)
        graph.pool = lambda: f"pool of {graph.number}"
        self.captures += 1
        return graph

    def replay(self, graph):
        self.log.append("replay")
        graph.work()

    @contextmanager
    def graph(self, graph, pool, stream):
        self.log.append(f"capture {graph.number} into {pool}")
        self.stream_now = stream.name
        yield
        graph.work = self.last_work
        if graph.number in self.failing:
            raise RuntimeError("operation not permitted when stream is capturing\nCUDA says more")
        self.log.append("captured")

    def work(self, work):
        """`work` that notes on which stream it runs."""

        def noted():
            self.log.append(f"work on {self.stream_now}")
            self.last_work = work
            work()

        return noted


def test_a_graph_is_warmed_up_on_the_side_then_captured_and_replayed(monkeypatch):
    cuda = FakeCUDA(monkeypatch)
    total = torch.zeros(1)
    recorder = GraphRecorder(torch.device("cuda", 0))
    replay = recorder.record(cuda.work(lambda: total.add_(1)))
    assert cuda.log == [
        "side waits for main", "work on side", "work on side", "main waits for side",
        "capture 0 into None", "work on side", "captured",
    ]  # fmt: skip
    assert cuda.stream_now == "main"
    cuda.log.clear()
    before = float(total)
    replay()
    assert float(total) == before + 1
    assert cuda.log == ["replay"]
    recorder.record(cuda.work(lambda: None))
    assert "capture 1 into pool of 0" in cuda.log


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failed_capture_is_told_once_and_work_is_launched_plainly(monkeypatch, caplog, failing):
    cuda = FakeCUDA(monkeypatch, failing=(failing,))
    total = torch.zeros(1)
    work = cuda.work(lambda: total.add_(1))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            recorder = GraphRecorder(torch.device("cuda", 0))
            for number in range(3):
                repeated = recorder.record(work)
                cuda.log.clear()
                before = float(total)
                repeated()
                assert float(total) == before + 1
                plain = cuda.captures > failing
                assert cuda.log == (["work on main"] if plain else ["replay"]), number
    assert cuda.captures == failing + 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == (
        "positions are launched plainly, without CUDA graphs: RuntimeError: "
        "operation not permitted when stream is capturing"
    )


def test_torch_without_cuda_cannot_capture_and_work_goes_on(monkeypatch, caplog):
    if torch.cuda.is_available():
        pytest.skip("this torch can capture")
    monkeypatch.setattr(GraphRecorder, "failed", False)
    done = []
    with caplog.at_level(logging.WARNING):
        GraphRecorder(torch.device("cuda", 0)).record(lambda: done.append(1))()
    assert done == [1]
    assert "plainly" in caplog.text
