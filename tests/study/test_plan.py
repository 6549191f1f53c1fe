"""What a study would take and could show, without training, a hub, or the files of its examples."""

from __future__ import annotations

import socket

import pytest

from oneshot_rlvr.cli import main
from oneshot_rlvr.config import packaged_studies
from oneshot_rlvr.errors import ConfigError
from oneshot_rlvr.study.file import read_study
from oneshot_rlvr.verbs.study import plan

HOW = {"samples": 4, "temperature": 0.6}
PAPER = [name for name in packaged_studies() if "/paper_" in name]


@pytest.mark.parametrize("name", PAPER)
def test_a_study_of_the_papers_models_is_planned_without_the_network(
    name, monkeypatch, tmp_path, capsys
):
    def refuse(*args, **kwargs):
        raise AssertionError("a plan opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.chdir(tmp_path)
    assert main(["study", name, "--plan"]) == 0
    told = capsys.readouterr().out
    assert "GPU-hours" in told
    assert "A100 80 GB" in told
    assert "one example beats the base" in told
    assert list(tmp_path.iterdir()) == []


def test_the_papers_models_are_four():
    assert len(PAPER) == 4


def test_runs_steps_answers_and_hours_by_hand(tmp_path):
    found = plan("paper_r1_distill_1p5b", runs=tmp_path)
    file = read_study("paper_r1_distill_1p5b")
    assert found.runs == 3 * len(file.arms) == 9
    assert found.runs_done == 0
    assert found.steps_left == 9 * 2000
    assert found.questions == {"math500": 500, "minerva_math": 272, "olympiadbench": 675,
                               "aime24": 30, "aime25": 30, "amc23": 40}  # fmt: skip
    # A run: three greedy sets, three of eight answers. The base: in three prompts, greedy and hot;
    # at its own temperature where that is neither.
    a_run = 500 + 272 + 675 + 8 * (30 + 30 + 40)
    greedy, hot = 1447, 100
    base = 3 * (greedy + greedy) + 3 * (8 * hot + hot)
    assert found.answers_left == 9 * a_run + base
    from oneshot_rlvr.train.cost_model import A100, SHAPES, Work, step_seconds

    work = Work(128, 8, 120, 3500, 8192, True)
    seconds = step_seconds(SHAPES["DeepSeek-R1-Distill-Qwen-1.5B"], A100, 8, work)
    training = 9 * 2000 * seconds["step"] / 3600
    assert training < found.hours < 1.1 * training
    assert found.gpu_hours == pytest.approx(8 * found.hours)


def test_more_questions_seeds_and_fewer_claims_show_smaller_differences(study_file, tmp_path):
    def least(**changes):
        base = {
            "base": "tiny_one_shot",
            "controls": ["base"],
            "arms": {"outcome": {}, "random": {}},
            "claims": [{"name": "a", "arm": "outcome", "against": "base"}],
            "benchmarks": {"test": {"benchmark": "tiny", "questions": 20, **HOW}},
        }
        return plan(study_file({**base, **changes}), runs=tmp_path, measure=False).shows[0]

    usual = least(seeds=[0, 1, 2, 3, 4])
    assert not usual.measured
    assert 0.01 < usual.difference < 0.2
    assert least(seeds=[0, 1, 2]).difference > 1.2 * usual.difference
    few = {"test": {"benchmark": "tiny", "questions": 2, **HOW}}
    assert least(seeds=[0, 1, 2, 3, 4], benchmarks=few).difference > 1.5 * usual.difference
    many = [{"name": f"{n}", "arm": "outcome", "against": "base"} for n in range(10)]
    assert least(seeds=[0, 1, 2, 3, 4], claims=many).difference > 1.1 * usual.difference


def test_a_gpu_or_model_that_the_cost_model_lacks_is_told(study_file, tmp_path):
    with pytest.raises(ConfigError, match="is not in the cost model"):
        plan(study_file({"base": "tiny_one_shot"}), runs=tmp_path, gpu="H100")
    with pytest.raises(ConfigError, match='Did you mean "H100'):
        plan("paper_llama32_3b", runs=tmp_path, gpu="H10")


def test_a_claim_of_some_questions_can_show_what_so_many_can(study_file, tmp_path):
    def least(only):
        claim = {"name": "a", "arm": "outcome", "against": "base", "only": only}
        changes = {"base": "tiny_one_shot", "controls": ["base"], "arms": {"outcome": {}},
                   "claims": [claim], "seeds": [0, 1, 2, 3, 4],
                   "benchmarks": {"test": {"benchmark": "tiny", "questions": 5, **HOW}},
                   "planning": {"seed_sd": 0.0}}  # fmt: skip
        return plan(study_file(changes), runs=tmp_path, measure=False).shows[0].difference

    # 8 of the 20 families: 1 / sqrt(0.4), and a little for the degrees of freedom.
    assert 1.58 < least({"group": "math", "family": "not buy"}) / least({}) < 1.75
    assert least({"family": "not buy"}) == pytest.approx(least({}), rel=0.05)
    assert least({"family": "buy"}) > 4 * least({})
