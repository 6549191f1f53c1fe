"""Fixtures for all rooms: the real-data folder, a model and recipe that run in a second.

And one thread per test process; drawn examples that are the same every time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import tomli_w
from hypothesis import HealthCheck, settings

from browsing import browser, visit
from oneshot_testing import load_file

__all__ = ["browser", "visit"]

if TYPE_CHECKING:
    from oneshot_rlvr.config import Recipe

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)

# Before torch is first imported: pytest-xdist runs a process per core already.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A shell's background job begins with SIGINT ignored, one under nohup with SIGHUP, and its children
# inherit that: runs under test would then rightly pass over the very signals that tests send.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


# A busy machine is no mistake, so nothing that is drawn has a deadline. What is drawn depends on
# the test alone: no change is blamed for an example that was never drawn before. `make fuzz` draws
# anew each time.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize="ONESHOT_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the data sets are required (CI), a skipped test is a failure: it proved nothing."""
    return _no_skips((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself."""
    return _no_skips((yield))


def _no_skips(report: _Report) -> _Report:
    required = os.environ.get("ONESHOT_REQUIRE_DATA") == "1"
    if required and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but ONESHOT_REQUIRE_DATA=1 wants every test: {report.longrepr}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test inside another trainer or engine may take 15 minutes, unless it says otherwise.

    That ends one that hangs: a start alone takes minutes where the machine is busy.
    """
    for item in items:
        foreign = any(item.get_closest_marker(name) for name in ("verl", "trl", "vllm"))
        if foreign and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of published data sets that `ONESHOT_DATA_DIR` names.

    Skips without it; with `ONESHOT_REQUIRE_DATA=1` (as CI sets) that is a failure instead.
    """
    value = os.environ.get("ONESHOT_DATA_DIR", "")
    if value and Path(value).is_dir():
        return Path(value)
    reason = (
        f"ONESHOT_DATA_DIR is {value!r}, which is not a directory"
        if value
        else "ONESHOT_DATA_DIR is not set: the published data sets are not in this repository"
    )
    if os.environ.get("ONESHOT_REQUIRE_DATA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """Makes run directories without training: read by tests of the report and of analyses."""
    return load_file(Path(__file__).parent / "report" / "synthetic_run.py")


@pytest.fixture(scope="session")
def servers() -> ModuleType:
    """Servers that answer as a test says: see the file."""
    return load_file(Path(__file__).parent / "evaluation" / "servers.py")


@pytest.fixture(scope="session")
def build(synthetic: ModuleType) -> Callable[..., Path]:
    return synthetic.build


@pytest.fixture(scope="session")
def finished_run(build: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("runs") / "finished")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives one module a `time` of its own, which has only what it is given.

    The module by its whole name, and of that alone: other threads read the real clock.
    """

    def give(module: str, **functions: Callable[..., object]) -> None:
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(**functions))

    return give


@pytest.fixture(scope="session")
def free_ports() -> Callable[[int], list[int]]:
    """Gives ports for servers that bind them later.

    From below the range of which the kernel deals: a port of that would be anybody's again, for
    any connection, until the server has started.
    """

    def free(count: int) -> list[int]:
        range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
        end = int(range_file.read_text().split()[0]) if range_file.exists() else 32768
        found: list[int] = []
        for port in random.SystemRandom().sample(range(min(10240, end // 2), end), 1000):
            with socket.socket() as one:
                try:
                    one.bind(("127.0.0.1", port))
                except OSError:
                    continue
            found.append(port)
            if len(found) == count:
                return found
        raise OSError("no free port was found")

    return free


@pytest.fixture(scope="session")
def babbler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory: a Qwen2 of 20 thousand random weights that says a's and b's, and stops.

    It answers "a" a tenth of the time and can be taught to always: runs with real rewards, in
    seconds.
    """
    import torch

    from oneshot_rlvr.policy import save_policy
    from oneshot_rlvr.policy.random_model import byte_tokenizer, random_policy

    template = (
        "{% for m in messages %}{{ m['content'] + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}> {% endif %}"
    )
    policy = random_policy(
        "qwen2", hidden=16, layers=1, heads=2, kv_heads=1, intermediate=16, max_positions=256,
        scale=0.1, tokenizer=byte_tokenizer(template),
    )  # fmt: skip
    liked = [*policy.tokenizer.convert_tokens_to_ids(["a", "b"]), *policy.eos_ids]
    with torch.no_grad():
        # The first component is large in every state, so the head's first column is a bias.
        policy.model.get_input_embeddings().weight[:, 0] = 4.0
        head = policy.model.get_output_embeddings().weight
        head[:, 0] = -1.0
        head[liked, 0] = 1.0
    return save_policy(policy, tmp_path_factory.mktemp("models") / "babbler")


@pytest.fixture(scope="session")
def small_recipe(babbler: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Recipe]:
    """Makes the recipe of a run of `babbler` that takes a second; `overrides` are dotted keys.

    Two rows of eight rollouts, 4 steps; saved and validated every 2.
    """
    from oneshot_rlvr.config import load_recipe

    folder = tmp_path_factory.mktemp("small_recipe")
    options = {"answer": "a", "verifier": "exact_match", "extraction": "lenient"}
    for name in ("validation", "test"):
        rows = [{"question": f"{name} {n}: say a.", **options} for n in range(3)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = {"benchmark": "file", "samples": 2, "temperature": 1.0}
    small = {
        "name": "small",
        "model": {"path": str(babbler)},
        "examples": {"items": [{"id": "say-a", "question": "Say a.", **options}]},
        "reward": {"workers": 0},
        "rollouts": {
            "prompts_per_step": 2, "group_size": 8, "max_prompt_tokens": 64, "max_new_tokens": 6,
            "temperature": 1.0,
        },
        "optimizer": {"learning_rate": 0.01},
        "train": {"steps": 4, "save_every": 2, "eval_every": 2, "threads": 1},
        "evaluation": {
            name: {**held_out, "path": str(folder / f"{name}.jsonl")}
            for name in ("validation", "test")
        },
    }  # fmt: skip
    (folder / "small.toml").write_text(tomli_w.dumps(small))

    def make(overrides: Mapping[str, Any] | None = None) -> Recipe:
        return load_recipe(folder / "small.toml", overrides)

    return make
