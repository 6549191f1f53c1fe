"""DAPO's penalty for answers near the length limit, by hand (arXiv 2503.14476, equation 13)."""

import pytest
import torch

from oneshot_rlvr.algorithms.overlong import overlong_penalty

LENGTHS = torch.tensor([0, 79, 80, 85, 90, 95, 100])


def test_it_rises_within_the_buffer_alone_from_nothing_to_the_largest():
    got = overlong_penalty(LENGTHS, 100, 0.2, 1.0)
    assert got.tolist() == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1.0])
    assert got.dtype == torch.float64


def test_it_is_scaled_by_the_largest_and_stretched_by_the_buffer():
    assert overlong_penalty(LENGTHS, 100, 0.2, 0.4)[-3:].tolist() == pytest.approx([0.2, 0.3, 0.4])
    # The paper's own numbers: 20,480 tokens, of which the last 4,096 are the buffer.
    lengths = torch.tensor([16_384, 18_432, 20_480])
    assert overlong_penalty(lengths, 20_480, 0.2, 1.0).tolist() == pytest.approx([0, 0.5, 1.0])


def test_it_never_pays_and_never_takes_more_than_the_largest():
    got = overlong_penalty(torch.tensor([1, 500]), 100, 0.5, 2.0)
    assert got.tolist() == [0.0, 2.0]


def test_without_a_buffer_nothing_is_deducted_whatever_the_length():
    assert overlong_penalty(LENGTHS, 100, 0.0, 1.0).tolist() == [0.0] * len(LENGTHS)


def test_a_right_answer_at_the_limit_lies_midway_between_right_and_wrong():
    """DAPO takes 1 of rewards of -1 and 1: as much of verdicts of 0 and 1 is 0.5."""
    from oneshot_rlvr.algorithms.advantages import group_normalized
    from oneshot_rlvr.config import parse_recipe

    config = parse_recipe({"algorithm": {"name": "dapo"}}).algorithm
    penalty = overlong_penalty(
        torch.tensor([10, 100, 10]), 100, config.overlong_buffer_share, config.overlong_penalty
    )
    ours = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64) - penalty
    papers = torch.tensor([[1.0, 1.0 - 1.0, -1.0]], dtype=torch.float64)
    assert ours.tolist() == [[1.0, 0.5, 0.0]]
    assert torch.allclose(group_normalized(ours, 1e-9), group_normalized(papers, 1e-9), atol=1e-6)
