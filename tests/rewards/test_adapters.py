"""The doors of TRL and verl give the rewards that the Scorer gives."""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import ConfigError, DataError
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rewards.trl import TrlReward
from oneshot_rlvr.rewards.verl import compute_score
from oneshot_rlvr.types import Example, Rollout

ROWS = [
    (r"\boxed{208}", "208", "math_answer", {}),
    (r"\boxed{8+200}", "208", "math_answer", {}),
    (r"\boxed{209}", "208", "math_answer", {}),
    ("The answer is 208.", "208", "math_answer", {}),
    ("The answer is 208.", "208", "math_answer", {"extraction": "lenient"}),
    (r"\boxed{0.07 g}", "70", "numeric", {"unit": "mg"}),
    ("so (B)", "B", "multiple_choice", {"choices": ["x", "y"]}),
    (r"\boxed{Paris}", "Rome", "exact_match", {}),
    ("", "5", "numeric", {}),
]


# The three doors, as a module of its own: other processes import it.
DOORS = """
import json
from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.rewards import Scorer
from oneshot_rlvr.rewards.trl import TrlReward
from oneshot_rlvr.rewards.verl import compute_score
from oneshot_rlvr.types import Example

def scores(rows):
    config = RewardConfig(timeout_seconds=6.0, workers=1)
    with Scorer(config, seed=0) as scorer:
        examples = [Example(str(i), "q", g, k, extra=e) for i, (_, g, k, e) in enumerate(rows)]
        local = [float(v.correct) for v in scorer.grade_texts([r[0] for r in rows], examples)]
    door = TrlReward(config)
    trl = door(
        prompts=["q"] * len(rows),
        completions=[text for text, *_ in rows],
        solution=[gold for _, gold, *_ in rows],
        verifier=[kind for _, _, kind, _ in rows],
        extra=[extra for *_, extra in rows],
    )
    door.close()
    verl = [
        compute_score("d", t, g, {"index": i, "verifier": k, **e}, timeout_seconds=6.0)["score"]
        for i, (t, g, k, e) in enumerate(rows)
    ]
    return {"local": local, "trl": trl, "verl": verl}
"""
# With a text that never ends: SIGALRM would not help in most of the places below.
HARD_ROWS = [*ROWS, (r"\boxed{9^{9^{9^{9^{9}}}}}", r"\sqrt{2}", "math_answer", {})]
EXPECTED = [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def _run(tmp_path, script, *, seconds):
    """What a script that imports the doors prints as JSON; nothing that it started lives on."""
    (tmp_path / "doors.py").write_text(DOORS, encoding="utf-8")
    (tmp_path / "main.py").write_text(script, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, str(tmp_path / "main.py"), json.dumps(HARD_ROWS)],
        capture_output=True,
        text=True,
        timeout=seconds,
        env={**os.environ, "PYTHONPATH": path, "ONESHOT_TEST_MARK": str(tmp_path)},
    )
    assert result.returncode == 0, result.stderr[-3000:]
    # The kernel ends a worker whose owner is gone, when it comes to it.
    deadline = time.monotonic() + 60
    while workers := [p for p in psutil.process_iter() if _is_worker(p, str(tmp_path))]:
        assert time.monotonic() < deadline, workers
        time.sleep(0.1)
    return json.loads(result.stdout.splitlines()[-1])


def _is_worker(process, mark):
    try:
        marked = process.environ().get("ONESHOT_TEST_MARK") == mark
        return marked and "oneshot_rlvr.rewards.worker" in " ".join(process.cmdline())
    except (psutil.Error, OSError):  # it has just ended
        return False


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_all_doors_give_equal_scores_in_a_thread_of_a_process_of_either_start_method(
    tmp_path, method
):
    script = f"""
import json, multiprocessing, sys, threading
from doors import scores

def work(queue, rows):
    thread = threading.Thread(target=lambda: queue.put(scores(rows)))
    thread.start()
    thread.join()

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    queue = context.SimpleQueue()
    # daemonic, as Ray's and many trainers' workers are
    process = context.Process(target=work, args=(queue, json.loads(sys.argv[1])), daemon=True)
    process.start()
    print(json.dumps(queue.get()))
    process.join()
"""
    answers = _run(tmp_path, script, seconds=600)
    assert answers == {"local": EXPECTED, "trl": EXPECTED, "verl": EXPECTED}


@pytest.mark.verl
def test_all_doors_give_equal_scores_inside_a_ray_worker(tmp_path):
    pytest.importorskip("ray", reason="verl and its Ray are not installed (`make peers`)")
    script = """
import json, sys, threading
import ray
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)

@ray.remote
def task(rows):
    from doors import scores
    return scores(rows)

@ray.remote
class Actor:
    def judge(self, rows):
        from doors import scores
        answers = []
        thread = threading.Thread(target=lambda: answers.append(scores(rows)))
        thread.start(); thread.join()
        return answers[0]

rows = json.loads(sys.argv[1])
first = ray.get(task.remote(rows), timeout=300)
actor = Actor.remote()
assert ray.get(actor.judge.remote(rows), timeout=300) == first
ray.shutdown()
print(json.dumps(first))
"""
    answers = _run(tmp_path, script, seconds=800)
    assert answers == {"local": EXPECTED, "trl": EXPECTED, "verl": EXPECTED}


@pytest.mark.verl
def test_verls_own_reward_manager_loads_and_calls_the_door():
    pytest.importorskip("verl", reason="verl is not installed (`make peers`)")
    import asyncio

    import torch
    from omegaconf import OmegaConf
    from tensordict import TensorDict
    from verl import DataProto
    from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
    from verl.trainer.ppo.reward import get_custom_reward_fn

    import oneshot_rlvr.rewards.verl as door

    config = OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": {
                    "path": door.__file__,
                    "name": "compute_score",
                    "reward_kwargs": {"timeout_seconds": 6.0},
                }
            }
        }
    )

    class Codes:  # a tokenizer whose tokens are code points
        def decode(self, tokens, skip_special_tokens=True):
            return "".join(map(chr, tokens))

    async def judge():
        manager = NaiveRewardManager(config, Codes(), get_custom_reward_fn(config))
        results = []
        for text, gold, kind, extra in HARD_ROWS:
            ids = torch.tensor([[ord(c) for c in text] or [32]])
            batch = TensorDict({"responses": ids, "attention_mask": torch.ones_like(ids)}, [1])
            columns = {
                "data_source": "d",
                "reward_model": {"ground_truth": gold},
                "extra_info": {"verifier": kind, **extra},
            }
            data = DataProto(
                batch=batch, non_tensor_batch={k: _column(v) for k, v in columns.items()}
            )
            results.append(await manager.run_single(data))
        return results

    results = asyncio.run(asyncio.wait_for(judge(), timeout=300))
    assert [r["reward_score"] for r in results] == EXPECTED
    assert [r["reward_extra_info"]["acc"] for r in results] == EXPECTED


def _column(value):
    import numpy as np

    column = np.empty(1, dtype=object)
    column[0] = value
    return column


@pytest.mark.parametrize("arm", ["outcome", "format_only", "wrong_label"])
def test_all_three_doors_give_equal_rewards(arm):
    rows = [row for row in ROWS if arm != "wrong_label" or row[2] != "exact_match"]
    examples = {
        str(i): Example(str(i), "q", gold, kind, extra=extra)
        for i, (_, gold, kind, extra) in enumerate(rows)
    }
    rollouts = [Rollout(i, 0, str(i), (), (), (), text, True) for i, (text, *_) in enumerate(rows)]
    config = RewardConfig(arm=arm)
    with Scorer(config, seed=0) as scorer:
        expected = [graded.reward for graded in scorer.score(rollouts, examples, step=1)]
    assert 0 < sum(expected) < len(expected)

    door = TrlReward(config)
    by_trl = door(
        prompts=["q"] * len(rows),
        completions=[text for text, *_ in rows],
        solution=[gold for _, gold, *_ in rows],
        verifier=[kind for _, _, kind, _ in rows],
        extra=[extra for *_, extra in rows],
    )
    door.close()
    assert by_trl == expected

    by_verl = [
        compute_score("data", text, gold, {"index": i, "verifier": kind, **extra}, arm=arm)["score"]
        for i, (text, gold, kind, extra) in enumerate(rows)
    ]
    assert by_verl == expected


def test_the_score_is_the_reward_at_all_doors_under_its_arm():
    row = (r"\boxed{kitten}", "sitting", "exact_match", {"score": "edit"})
    expected = pytest.approx(1 - 3 / 7)
    door = TrlReward(RewardConfig(arm="score", workers=0))
    text, gold, kind, extra = row
    assert door(completions=[text], solution=[gold], verifier=[kind], extra=[extra]) == [expected]
    assert door.__name__ == "oneshot_score"
    info = {"verifier": kind, **extra}
    by_verl = compute_score("data", text, gold, info, arm="score")
    assert by_verl == {"score": expected, "acc": 0.0, "verdict_score": expected}
    by_verl = compute_score("data", text, gold, info)
    assert by_verl == {"score": 0.0, "acc": 0.0, "verdict_score": expected}


def test_trl_gives_chats_options_in_columns_and_the_step():
    door = TrlReward(RewardConfig(workers=0), verifier="numeric")
    rewards = door(
        prompts=[[{"role": "user", "content": "How heavy?"}]] * 2,
        completions=[[{"role": "assistant", "content": rf"\boxed{{{n}}}"}] for n in (10.4, 10.6)],
        completion_ids=[[1, 2], [3]],
        answer=["10", "10"],
        rel_tol=[0.05, 0.05],
        other=["ignored", "ignored"],
    )
    assert rewards == [1.0, 0.0]
    assert door.__name__ == "oneshot_outcome"


def test_a_trl_row_without_a_gold_is_an_error_that_lists_the_columns():
    with pytest.raises(DataError, match="question"):
        TrlReward(RewardConfig(workers=0))(["q"], ["x"], question=["q"])


def test_verl_may_call_from_many_threads_at_once():
    scores = {}

    def work(number):
        text = rf"\boxed{{{number}+0}}"
        scores[number] = compute_score("d", text, str(number - number % 2))["score"]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert scores == {n: float(n % 2 == 0) for n in range(12)}


def test_verl_is_told_that_the_random_arm_needs_a_step():
    with pytest.raises(ConfigError, match="random"):
        compute_score("d", "x", "5", arm="random")


@pytest.mark.parametrize("arm", ["majority", "self_certainty"])
def test_an_arm_that_needs_the_group_or_the_policy_is_refused_where_texts_come_alone(arm):
    with pytest.raises(ConfigError, match=arm):
        compute_score("d", "x", "5", arm=arm)
    with pytest.raises(ConfigError, match=arm):
        TrlReward(RewardConfig(arm=arm))


@pytest.mark.trl
def test_the_real_trl_trainer_takes_a_step_with_our_rewards(tmp_path):
    trl = pytest.importorskip("trl", reason="TRL is not installed (`make peers`)")
    from datasets import Dataset

    from oneshot_rlvr.policy.random_model import random_policy

    policy = random_policy("qwen2", seed=3)
    before = {k: v.clone() for k, v in policy.model.state_dict().items()}
    seen = []

    class Recorded(TrlReward):
        def __call__(self, *args, **kwargs):
            rewards = super().__call__(*args, **kwargs)
            seen.append((kwargs["completions"], kwargs["solution"], rewards))
            return rewards

    # A gold that about half of any texts meet: an odd number of characters.
    gold = r"(?s).(?:..)*"
    options = {"verifier": "regex_match", "extraction": "lenient"}
    data = Dataset.from_list([{"prompt": "What is 2+3?", "solution": gold, **options}] * 8)
    reward = Recorded(RewardConfig(workers=1))
    settings = trl.GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=1,
        per_device_train_batch_size=8,
        num_generations=8,
        max_completion_length=8,
        learning_rate=1e-3,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        logging_steps=1,
        seed=0,
    )
    trainer = trl.GRPOTrainer(
        model=policy.model,
        reward_funcs=reward,
        args=settings,
        train_dataset=data,
        processing_class=policy.tokenizer,
    )
    trainer.train()
    reward.close()
    assert trainer.state.global_step == 1
    ((completions, golds, rewards),) = seen
    assert golds == [gold] * 8
    assert 0 < sum(rewards) < 8
    after = policy.model.state_dict()
    assert any(not before[k].equal(after[k]) for k in before)  # the step learned from them
    assert trainer.state.log_history[0]["rewards/oneshot_outcome/mean"] == sum(rewards) / 8

    examples = [Example("x", "q", gold, "regex_match", extra=options)] * 8
    with Scorer(RewardConfig(workers=1), seed=0) as scorer:
        verdicts = scorer.grade_texts(completions, examples)
    assert rewards == [float(v.correct) for v in verdicts]
    by_verl = [compute_score("d", text, gold, options)["score"] for text in completions]
    assert rewards == by_verl


WORKED = "She makes 9 * 2 = <<9*2=18>>18 dollars.\n#### 18"


def _by_trl(gold, **columns):
    door = TrlReward(RewardConfig(workers=0))
    try:
        return door(completions=[r"\boxed{18}", r"\boxed{19}"], solution=[gold] * 2, **columns)
    finally:
        door.close()


def _by_verl(gold, info=None):
    return [
        compute_score("data", text, gold, info)["score"] for text in (r"\boxed{18}", r"\boxed{19}")
    ]


@pytest.mark.parametrize("door", [_by_trl, _by_verl])
@pytest.mark.parametrize("gold", [WORKED, "<answer>18</answer>", np.int64(18), 18.0])
def test_a_worked_solution_is_a_gold_at_the_doors(door, gold):
    assert door(gold) == [1.0, 0.0]


@pytest.mark.parametrize("door", [_by_trl, _by_verl])
@pytest.mark.parametrize("gold", ["She makes 18 dollars and we are done.", ["18"], {"a": 18}])
def test_prose_lists_and_tables_are_no_golds_at_the_doors(door, gold):
    with pytest.raises(DataError, match=r"row .*(solution|ground_truth).*(prose|wanted the gold)"):
        door(gold)


@pytest.mark.parametrize("kind", ["math_answer", "numeric", "exact_match", "multiple_choice"])
def test_a_blank_gold_is_refused_at_the_doors_where_no_option_says_what_is_right(kind):
    with pytest.raises(DataError, match="no gold"):
        _by_trl(" ", verifier=[kind] * 2)
    with pytest.raises(DataError, match="no gold"):
        _by_verl(" ", {"verifier": kind})
    schema = {"schema": {"type": "object"}}
    assert _by_trl("", verifier=["json_answer"] * 2, extra=[schema] * 2) == [0.0, 0.0]


def test_trl_takes_the_first_column_that_states_an_answer():
    prose = "She makes 18 dollars and we are done."
    assert _by_trl(prose, answer=["18"] * 2) == [1.0, 0.0]
    assert _by_trl("", answer=["18"] * 2) == [1.0, 0.0]
    assert _by_trl(None, ground_truth=["18"] * 2) == [1.0, 0.0]
    assert _by_trl("18", answer=["19"] * 2) == [1.0, 0.0]  # the first, where both do
    with pytest.raises(DataError, match='"solution", is prose'):
        _by_trl(prose, answer=[prose] * 2)


def test_options_come_as_tables_json_text_or_arrays():
    extra = {"rel_tol": 0.1}
    for told in (extra, json.dumps(extra)):
        assert _by_trl("18", extra=[told] * 2, verifier=["numeric"] * 2) == [1.0, 1.0]
        info = {"verifier": "numeric", **extra}
        info = info if told is extra else json.dumps(info)
        assert _by_verl("18", info) == [1.0, 1.0]
    column = np.array([0.1, 0.1])
    assert _by_trl("18", rel_tol=column, verifier=["numeric"] * 2) == [1.0, 1.0]
    choices = np.array(["18", "19"])
    info = {"verifier": "multiple_choice", "choices": choices}
    assert compute_score("data", r"\boxed{A}", "A", info)["score"] == 1.0
    with pytest.raises(DataError, match="wanted a table of options"):
        _by_verl("18", "rel_tol=0.1")
