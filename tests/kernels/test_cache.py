"""What is kept of compiled loops: the same bits cold and warm, keyed by all sources, repaired."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import oneshot_rlvr

PACKAGE = Path(oneshot_rlvr.__file__).parent

# Log-probabilities of sampling, then those and gradients of an update, as bytes.
HASHES = """
import hashlib, torch
from oneshot_rlvr.policy import sequence_logprobs
from oneshot_rlvr.policy.random_model import random_policy
from oneshot_rlvr.rollouts import Sampling, StreamKey, make_engine
from oneshot_rlvr.types import Example, Prompt

torch.set_num_threads(1)
policy = random_policy("qwen2", scale=0.3)
asked = [Prompt(r, Example(str(r), "", ""), (1, 2, 3, r)) for r in range(3)]
engine = make_engine("shared_prefix", policy)
rollouts = engine.generate(asked, 16, Sampling(1.0, 40), StreamKey(0, "hashes", 0))
prompts, responses = [asked[r.row].tokens for r in rollouts], [r.tokens for r in rollouts]
scores = sequence_logprobs(policy.model, prompts, responses, 1.0, pad_id=policy.pad_id)
(scores.logprobs_N_T.sum() + scores.entropy_N_T.sum()).backward()

def told(name, made):
    print(name, hashlib.sha256(made).hexdigest())

told("sampled", repr([r.logprobs for r in rollouts]).encode())
told("scored", scores.logprobs_N_T.detach().numpy().tobytes())
for name, parameter in policy.model.named_parameters():
    told(name, parameter.grad.numpy().tobytes())
"""

SMALL = """
import logging; logging.basicConfig(format="%(message)s")
import numpy as np
from oneshot_rlvr.kernels import drawing
tokens, logs = np.zeros(1, np.int64), np.zeros(1)
rules = drawing.rules_of(1)
assert drawing.draw(np.zeros((1, 4), np.float32), np.array([0.6]), rules, tokens, logs)
assert tokens[0] == 2 and np.isclose(logs[0], -np.log(4)), (tokens, logs)
print(sum(drawing.draw.stats.cache_hits.values()), drawing.draw.stats.cache_path)
"""


def process(code, cache, **more):
    path = {"PYTHONPATH": str(PACKAGE.parent)} | more
    env = os.environ | {"NUMBA_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"} | path
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done


def hits(done):
    return int(done.stdout.split()[0])


def test_the_first_process_on_a_machine_computes_the_bits_of_every_later_one(tmp_path):
    cold = process(HASHES, tmp_path).stdout.splitlines()
    kept = sorted(path.name for path in tmp_path.rglob("*.nbc"))
    warm = process(HASHES, tmp_path).stdout.splitlines()
    assert len(cold) > 20
    assert cold == warm
    assert len(kept) >= 9
    assert sorted(path.name for path in tmp_path.rglob("*.nbc")) == kept


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with the drawing of tokens in it."""
    cache = tmp_path_factory.mktemp("cache")
    assert hits(process(SMALL, cache)) == 0
    assert hits(process(SMALL, cache)) == 1
    return cache


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    at = len(content) // 3
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b""], ids=["cut", "bit", "empty"])
def test_a_damaged_entry_is_named_once_and_compiled_again(filled, damage):
    (entry,) = filled.rglob("*.nbc")
    entry.write_bytes(damage(entry.read_bytes()))
    repaired = process(SMALL, filled)
    assert repaired.stderr.count("damaged") == repaired.stderr.count(str(entry)) == 1
    assert hits(repaired) == 0
    again = process(SMALL, filled)
    assert hits(again) == 1
    assert not again.stderr


def test_where_nothing_can_be_kept_loops_work_and_it_is_said_once(tmp_path):
    (tmp_path / "file").write_text("no folder")
    others = """
from oneshot_rlvr.kernels.compiling import compiled
assert compiled(lambda x: x + 1)(1) == compiled(lambda x: 2 * x)(1) == 2
"""
    done = process(SMALL + others, tmp_path / "file" / "cache")
    assert hits(done) == 0
    assert done.stderr.count("cannot be kept") == 1
    assert str(tmp_path / "file") in done.stderr


def test_an_edit_of_any_file_of_the_room_is_another_key_and_the_package_stays_as_it_is(tmp_path):
    cache, copied = tmp_path / "cache", tmp_path / "copied"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, copied / "oneshot_rlvr", ignore=ignore)
    at = {"PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1"}
    place = process(SMALL, cache, **at).stdout
    assert hits(process(SMALL, cache, **at)) == 1
    edited = copied / "oneshot_rlvr" / "kernels" / "elementary.py"
    edited.write_text(edited.read_text() + "\n# edited\n")
    done = process(SMALL, cache, **at)
    assert hits(done) == 0
    assert done.stdout != place
    assert not [path for path in copied.rglob("*") if path.suffix in (".nbi", ".nbc", ".pyc")]


def test_without_a_setting_entries_go_where_the_users_caches_go(tmp_path):
    done = process(SMALL, "", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "caches"))
    assert done.stdout.split()[1].startswith(str(tmp_path / "caches" / "oneshot-rlvr"))


def test_folders_of_other_sources_are_forgotten_but_the_latest(tmp_path):
    for number in range(20):
        old = tmp_path / "kernels" / f"{number:020d}"
        old.mkdir(parents=True)
        os.utime(old, (number, number))
    process(SMALL, tmp_path)
    left = sorted(path.name for path in (tmp_path / "kernels").iterdir())
    assert len(left) == 9
    assert [f"{number:020d}" for number in range(12, 20)] == [x for x in left if x[:10] == "0" * 10]
