"""Work on a device that is repeated on the same memory: recorded once, then replayed.

`GraphRecorder` makes CUDA graphs (https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs): all
launches of some work as one. `EagerRecorder` records nothing.

Not here: the work, which must read and write nothing but tensors that outlive the recording, and
never wait for the device (`static_state.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import ClassVar, Protocol

import torch

log = logging.getLogger(__name__)

# "A few", says torch: libraries make their handles and workspaces in the first.
_WARM_UPS = 2

Work = Callable[[], None]


class Recorder(Protocol):
    """Makes work repeatable."""

    def record(self, work: Work) -> Work:
        """What does the same as `work` on the same memory, from now until the next `record`.

        `work` may be run any number of times by this: a second run changes nothing.
        """
        ...


class EagerRecorder:
    """Launches everything anew each time."""

    def record(self, work: Work) -> Work:
        """`work` itself."""
        return work


class GraphRecorder:
    """CUDA graphs. One is alive at a time, and all have their temporaries in one pool.

    Where a capture fails this process makes no more, as what a broken one leaves behind in the
    allocator depends on torch's version; it says so once, and work is launched plainly.
    """

    failed: ClassVar[bool] = False

    def __init__(self, device: torch.device):
        self._device = device
        self._graph: torch.cuda.CUDAGraph | None = None

    def record(self, work: Work) -> Work:
        """A replay of its graph, or after a failure `work` itself."""
        if GraphRecorder.failed:
            return work
        try:
            # The graph before this one goes only now: it keeps the pool in being.
            self._graph = self._capture(work)
        except RuntimeError as error:  # torch's own, out of memory and CUDA's are all of these
            GraphRecorder.failed = True
            log.warning(
                "positions are launched plainly, without CUDA graphs: %s: %s",
                type(error).__name__, str(error).partition("\n")[0],
            )  # fmt: skip
            return work
        return self._graph.replay

    def _capture(self, work: Work) -> torch.cuda.CUDAGraph:
        with torch.cuda.device(self._device):
            stream, here = _side_stream(self._device), torch.cuda.current_stream()
            stream.wait_stream(here)
            # `torch.cuda.graph` does not leave the stream when a capture fails: this context does.
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    work()
                here.wait_stream(stream)
                graph = torch.cuda.CUDAGraph()
                pool = None if self._graph is None else self._graph.pool()
                with torch.cuda.graph(graph, pool=pool, stream=stream):
                    work()
        return graph


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all: matrix products keep a workspace for every stream they have run on."""
    return torch.cuda.Stream(device)
