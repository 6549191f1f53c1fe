"""Pretraining: what is learned and what is not, and a resume that changes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from oneshot_rlvr.errors import RunError
from oneshot_rlvr.tiny.corpus import Document, document
from oneshot_rlvr.tiny.tokenizer import build_tokenizer
from oneshot_rlvr.train.pretrain import (
    NOT_LEARNED,
    PretrainSettings,
    batch_of_step,
    pack,
    pretrain,
)

SMALL = PretrainSettings(
    tokens=6 * 2 * 64, hidden_size=32, layers=1, heads=2, kv_heads=1, feed_forward=32,
    rows=2, row_tokens=64, save_every=2, warmup_steps=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> object:
    return build_tokenizer()


def test_what_follows_a_ramble_is_not_learned(tokenizer: object) -> None:
    rng = random.Random(0)
    written: list[Document] = []

    def next_document() -> Document:
        written.append(document(rng, style="ramble" if len(written) % 2 == 0 else "hasty"))
        return written[-1]

    inputs, targets = pack(next_document, tokenizer, rows=1, row_tokens=120)
    first = len(tokenizer.encode(written[0].text()).ids)
    second = len(tokenizer.encode(written[1].text()).ids)
    assert targets[0, first - 1] == NOT_LEARNED
    unlearned = (targets[0] == NOT_LEARNED).nonzero().flatten().tolist()
    assert first + second - 1 not in unlearned  # a hasty answer ends, and its end is learned
    learned = targets[0] != NOT_LEARNED
    assert torch.equal(targets[0, :-1][learned[:-1]], inputs[0, 1:][learned[:-1]])


def test_a_steps_documents_follow_from_seed_and_step(tokenizer: object) -> None:
    one = batch_of_step(SMALL, tokenizer, 3)
    again = batch_of_step(SMALL, tokenizer, 3)
    other = batch_of_step(SMALL, tokenizer, 4)
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])


def test_the_rate_warms_up_holds_and_decays() -> None:
    settings = PretrainSettings(tokens=1000 * 32 * 160, warmup_steps=100)
    assert settings.steps == 1000
    assert settings.rate_share(0) == pytest.approx(0.01)
    assert settings.rate_share(300) == 1.0
    assert settings.rate_share(700) == pytest.approx(0.51)
    assert settings.rate_share(1000) == pytest.approx(0.02)


def test_a_resumed_pretraining_ends_where_a_straight_one_ends(tmp_path: Path) -> None:
    straight = pretrain(tmp_path / "straight", SMALL, say=lambda line: None)

    class Killed(Exception):
        pass

    def kill_at_four(line: str) -> None:
        if line.startswith("step 4/"):
            raise Killed

    with pytest.raises(Killed):
        pretrain(tmp_path / "resumed", SMALL, say=kill_at_four)
    resumed = pretrain(tmp_path / "resumed", SMALL, resume=True, say=lambda line: None)
    a, b = (load_file(path / "model.safetensors") for path in (straight, resumed))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_directory_that_holds_a_pretraining_is_refused(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    pretrain(tmp_path, SMALL, say=lambda line: None)
    assert torch.get_num_threads() == 3  # the caller's again
    torch.set_num_threads(before)
    with pytest.raises(RunError, match="--resume"):
        pretrain(tmp_path, SMALL, say=lambda line: None)
    with pytest.raises(RunError, match="seed"):
        pretrain(tmp_path, PretrainSettings(seed=1), resume=True, say=lambda line: None)
