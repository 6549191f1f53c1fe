"""A run whose groups all earned equal rewards learned nothing, and is told so."""

import pandas as pd
import pytest

from oneshot_rlvr.analysis.signal import no_signal
from oneshot_rlvr.cli.tables import print_run
from oneshot_rlvr.records import RunWriter


def metrics(shares, accuracies):
    return pd.DataFrame({"train/zero_variance_share": shares, "train/accuracy": accuracies})


@pytest.mark.parametrize(
    ("shares", "accuracies", "told"),
    [
        ([1.0, 1.0], [0.0, 0.0], "no rollout was right"),
        ([1.0, 1.0], [1.0, 1.0], "every rollout was right"),
        ([1.0, 1.0], [0.5, 0.5], "earned the same reward, so"),  # a constant reward, say
        ([1.0, 0.9], [0.0, 0.1], ""),
        ([], [], ""),
        ([float("nan")], [0.0], ""),
    ],
)
def test_equal_rewards_throughout_are_told_with_what_to_do(shares, accuracies, told):
    said = no_signal(metrics(shares, accuracies))
    assert told in said
    assert bool(said) == bool(told)


def test_what_is_not_recorded_says_nothing():
    assert no_signal(pd.DataFrame({"step": [1, 2]})) == ""


def test_the_command_says_it_under_its_table(tmp_path, capsys):
    with RunWriter.create(tmp_path / "run", {}) as writer:
        writer.metrics(1, {"train/zero_variance_share": 1.0, "train/accuracy": 0.0})
        writer.finish({"step": 1})
    print_run(tmp_path / "run", reused=False)
    assert "Note: All rollouts of every group earned the same reward" in capsys.readouterr().out
