"""Verdicts: of all runs that were declared, and of a base that is asked as the claim demands."""

from __future__ import annotations

import math

import pytest

from oneshot_rlvr.study import gather
from oneshot_rlvr.study.claims import HOLDS, UNKNOWN, judge
from oneshot_rlvr.study.file import read_study
from oneshot_rlvr.study.gather import Gathered
from oneshot_rlvr.study.tasks import tasks_of


@pytest.fixture
def judged(finished, study_file):
    """Judges claims by the runs of the finished study, of seeds 0 and 1."""
    pool = finished[1].directory.parent / "arms"

    def of(changes):
        file = read_study(study_file(changes))
        return judge(Gathered(file, tasks_of(file, pool)))

    return of


def test_while_a_seed_is_missing_there_is_a_value_and_no_verdict(judged):
    whole = judged({"seeds": [0, 1]})
    part = judged({"seeds": [0, 1, 2]})
    assert [found.verdict for found in part] == [UNKNOWN, UNKNOWN]
    assert [found.value for found in part] == [found.value for found in whole]
    assert all(math.isnan(found.corrected) for found in part)
    assert part[0].why == "no verdict before all runs are done: 2 of 3 runs of outcome are done"
    assert "runs of" not in whole[0].why


def test_what_has_run_counts_among_the_claims_that_have_not(judged):
    # One claim is judged, the other waits: both are corrected for.
    alone = judged({"claims/0": None, "seeds": [0, 1]})
    arms = {"outcome": {}, "no_update": {}, "later": {"set": {"optimizer.learning_rate": 0.5}}}
    both = judged({"seeds": [0, 1], "arms": arms, "claims/0/arm": "later"})
    assert both[0].verdict == UNKNOWN
    assert both[1].corrected == pytest.approx(min(1.0, 2 * alone[0].p_value))


def test_above_the_base_is_above_its_strongest_way_and_any_other_claim_is_of_the_arms_own(judged):
    claim = {"name": "x", "arm": "outcome", "against": "base", "threshold": 0.2}
    ways = {}
    for relation in ("above", "below", "within"):
        (found,) = judged({"claims": [{**claim, "relation": relation}]})
        ways[relation] = found.way
    turned = {"name": "x", "arm": "base", "against": "outcome"}
    for relation in ("above", "below"):
        (found,) = judged({"claims": [{**turned, "relation": relation}]})
        ways[f"base {relation}"] = found.way
    own = "own, temperature 1"
    assert ways == {
        "above": ways["base below"], "below": own, "within": own,
        "base above": own, "base below": ways["base below"],
    }  # fmt: skip


def test_the_strongest_way_is_that_of_the_highest_share(finished, judged):
    rows = finished[1].result["base_ways"]
    best = max(rows, key=lambda row: row["value"])
    (found,) = judged({"claims": [{"name": "x", "arm": "outcome", "against": "base"}]})
    assert found.way == best["way"]
    assert best["strongest"]


def test_a_run_without_an_update_is_the_base_whatever_the_base_is_asked(judged):
    found = judged({"seeds": [0, 1]})[1]
    assert found.claim.arm == "no_update"
    assert found.value == pytest.approx(0.0)
    assert found.verdict in (HOLDS, UNKNOWN)


def test_seeds_that_never_saturated_are_told(judged, monkeypatch):
    made, calls = gather._over_time, []

    def saturated_once(run, statistic):
        calls.append(run)
        return made(run, "over_fitting") if len(calls) == 1 else None

    monkeypatch.setattr(gather, "_over_time", saturated_once)
    (found,) = judged({"claims": [{"name": "x", "arm": "outcome", "statistic": "post_saturation"}]})
    assert len(calls) == 2
    assert found.seed_count == 1
    assert found.why == "of the 1 of 2 seeds that saturated"
    assert found.verdict == UNKNOWN


def test_the_base_asked_as_the_arms_are_is_never_asked_another_way(judged, finished):
    own = next(row for row in finished[1].result["base_ways"] if row["way"].startswith("own, temp"))
    arms = {row["arm"]: row["value"] for row in finished[1].result["arms"]}
    for relation in ("above", "below"):
        (found,) = judged({"claims": [{"name": "x", "arm": "outcome", "against": "own_base",
                                       "relation": relation}]})  # fmt: skip
        assert found.way == own["way"] == "own, temperature 1"
        assert found.value == pytest.approx(arms["outcome"] - own["value"])


def test_a_run_without_an_update_answers_as_the_base_asked_in_its_way(judged):
    (found,) = judged({"claims": [{"name": "x", "arm": "no_update", "against": "own_base",
                                   "relation": "within", "threshold": 0.2}]})  # fmt: skip
    assert found.value == 0.0
