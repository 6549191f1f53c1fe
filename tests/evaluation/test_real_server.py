"""A benchmark asked of a real server: vLLM's, started here on the embedded model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import oneshot_rlvr.tiny
from oneshot_rlvr.config import BenchmarkConfig, RewardConfig
from oneshot_rlvr.errors import EndpointError
from oneshot_rlvr.evaluation import load_benchmark
from oneshot_rlvr.evaluation.endpoint import Endpoint, endpoint_from, models
from oneshot_rlvr.evaluation.served import evaluate_served
from oneshot_rlvr.rewards import Scorer

STARTS_WITHIN_SECONDS = 600


pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1500)]  # the server's start is within it


@pytest.fixture(scope="module")
def url(tmp_path_factory, free_ports):
    (port,) = free_ports(1)
    weights = Path(oneshot_rlvr.tiny.__file__).parent / "weights"
    log = tmp_path_factory.mktemp("vllm") / "log"
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights),
        "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "512", "--enforce-eager",
    ]  # fmt: skip
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"},
            process_group=0,
        )
    try:
        base = f"http://127.0.0.1:{port}/v1"
        ends = time.monotonic() + STARTS_WITHIN_SECONDS
        while True:
            assert process.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < ends, log.read_text(errors="replace")[-2000:]
            try:
                if models(Endpoint(base, "", timeout_seconds=30.0)):
                    break
            except EndpointError:
                time.sleep(1.0)
        yield base
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)


@pytest.mark.parametrize("chat_template", ["auto", "none"])
def test_a_real_server_answers_is_graded_and_resumed(url, tmp_path, chat_template):
    endpoint = endpoint_from(url, concurrency=8, timeout_seconds=600.0)
    assert endpoint.model == "tiny"
    config = BenchmarkConfig(benchmark="tiny", questions=1, samples=4, temperature=0.6, seed=3)
    results = []
    for _ in range(2):
        with Scorer(RewardConfig(), seed=0) as scorer:
            results.append(
                evaluate_served(
                    endpoint,
                    scorer,
                    load_benchmark(config),
                    config,
                    max_new_tokens=96,
                    journal=tmp_path / "j.jsonl",
                    chat_template=chat_template,
                )
            )
    first, again = results
    assert first.failures == {}
    assert len(first.samples) == 80
    assert again.samples == first.samples
    assert all(0 < s["tokens"] <= 96 for s in first.samples)
    # Samples of a question differ: each request has a seed of its own.
    texts = {(s["example_id"], s["text"]) for s in first.samples}
    assert len(texts) > 40
    if chat_template == "auto":  # the embedded model solves a good third in its own format
        assert 0.1 < first.summary["overall"]["accuracy"]["value"] < 0.9
