"""Scorer: grade a batch of rollouts, then give each the reward of the recipe's arm.

Every text is read in this process; cheap answers are decided there too; what is left is compared
once per distinct (answer, example's gold and options), in killable workers. With `workers = 0` no
worker is kept: a batch that needs one starts one and ends it. No text is compared without a
deadline.
The verdict is always against the true gold; only the reward knows of the arm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from oneshot_rlvr.config import RewardConfig
from oneshot_rlvr.errors import DataError, GraderError, OneshotError
from oneshot_rlvr.rewards import ARMS
from oneshot_rlvr.rewards.arms import Arm
from oneshot_rlvr.rewards.pool import Pool, Task, plain
from oneshot_rlvr.rewards.shaping import shaped
from oneshot_rlvr.types import Example, Graded, Reason, Rollout, Verdict
from oneshot_rlvr.verifiers import get_verifier
from oneshot_rlvr.verifiers.base import refuse_gold, refuse_misnamed

RANDOM_PURPOSE = 0x5EED_A53  # keeps the random arm's stream apart from every other one
NAMED_BAD_GOLDS = 5
SHOWN_QUESTION = 60  # characters of it in an error
TAKES_ALL = ("custom", "any_of", "all_of")
RUNS_CODE = ("python_code", "any_of", "all_of")


class Scorer:
    """Grades and rewards. A context manager; `close()` ends the workers."""

    def __init__(self, config: RewardConfig, *, seed: int):
        self._config = config
        self._seed = seed
        self._arm: Arm = ARMS.load(config.arm)
        self._relabelled: dict[str, Example] = {}
        size, memory_bytes = max(1, config.workers), config.memory_megabytes << 20
        self._pool = Pool(size, config.timeout_seconds, memory_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the grading processes. The scorer may be used again."""
        self._pool.close()

    def cancel(self) -> None:
        """End the batch that another thread is grading: there, `pool.Cancelled` is raised."""
        self._pool.cancel()

    def worker_pids(self) -> list[int]:
        """Process ids of the live grading processes."""
        return self._pool.pids()

    def check_golds(self, examples: Iterable[Example]) -> None:
        """DataError naming the examples whose gold their own verifier rejects."""
        examples = list(examples)
        bad = self.bad_golds(examples)
        if not bad:
            return
        first = next(example for example in examples if example.id == bad[0][0])
        # An id may be a row's number: the words of its question are found by eye.
        asks = " ".join(first.question.split())
        asks = asks if len(asks) <= SHOWN_QUESTION else f"{asks[:SHOWN_QUESTION]}..."
        told = f'{bad[0][1]} Its question: "{asks}"'
        if len(bad) == 1:
            raise DataError(told)
        ids = ", ".join(repr(i) for i, _ in bad[:NAMED_BAD_GOLDS])
        more = ", ..." if len(bad) > NAMED_BAD_GOLDS else ""
        raise DataError(
            f"{len(bad)} of {len(examples)} golds are rejected by their own verifier: "
            f"examples {ids}{more}. The first: {told}"
        )

    def bad_golds(self, examples: Iterable[Example]) -> list[tuple[str, str]]:
        """(example id, what is wrong) for every gold that its own verifier rejects, in order.

        Errors: MissingDependencyError, GraderError where a verifier cannot work here at all.
        """
        examples = self._with_sandbox(list(examples))
        try:
            self._check_golds(examples)
        except DataError:  # one at a time, to tell which
            return [(e.id, fault) for e in examples if (fault := self._fault(e)) is not None]
        return []

    def _fault(self, example: Example) -> str | None:
        try:
            self._check_golds([example])
        except DataError as error:
            text = str(error)
            return text if repr(example.id) in text else f"example {example.id!r}: {text}"
        return None

    def _check_golds(self, examples: Sequence[Example]) -> None:
        """DataError at the first bad gold; cheap golds here, the rest as one batch of work."""
        left: list[Task] = []
        for example in examples:
            verifier = get_verifier(example.verifier)
            if example.verifier not in TAKES_ALL:
                refuse_misnamed(verifier, example)
            if verifier.checks_gold_at_length(example):
                left.append((None, example))  # the kind has checks of its own
                continue
            with _faults_named(example):
                verifier.check_options(example)
                answer = verifier.extract(verifier.stated_gold(example), example)
                quick = answer if isinstance(answer, Verdict) else verifier.quick(answer, example)
            if quick is not None:
                refuse_gold(verifier, example, quick)
            else:
                left.append((None, example))
        for (_, example), verdict in zip(left, self._compare(left), strict=True):
            refuse_gold(get_verifier(example.verifier), example, verdict)

    def grade(self, rollouts: Sequence[Rollout], examples: Mapping[str, Example]) -> list[Verdict]:
        """One verdict per rollout, in order, against the true gold of its example.

        Errors: DataError for an unknown example, a bad gold or option; GraderError for a grader
        that fails by itself. Never for the model's text.
        """
        return self.grade_texts(
            [rollout.text for rollout in rollouts],
            [_example(examples, rollout.example_id) for rollout in rollouts],
        )

    def grade_texts(self, texts: Sequence[str], examples: Sequence[Example]) -> list[Verdict]:
        """One verdict per text; `examples[i]` is what `texts[i]` answers."""
        examples = self._with_sandbox(examples)
        verdicts: list[Verdict | None] = [None] * len(texts)
        keys: dict[int, str] = {}  # id(example) -> what its verdicts depend on
        slots: dict[tuple[str, str], list[int]] = {}
        known: dict[tuple[str, str], Verdict | None] = {}
        for number, (text, example) in enumerate(zip(texts, examples, strict=True)):
            verifier = get_verifier(example.verifier)
            with _faults_named(example):
                answer = verifier.extract(text, example)
                if isinstance(answer, Verdict):
                    verdicts[number] = answer
                    continue
                key = (answer, keys.get(id(example)) or keys.setdefault(id(example), _key(example)))
                if key not in known:
                    quick = verifier.quick(answer, example)
                    known[key] = quick and verifier.scored(quick, answer, example)
            verdicts[number] = known[key]
            if verdicts[number] is None:
                slots.setdefault(key, []).append(number)
        tasks: list[Task] = [(key[0], examples[numbers[0]]) for key, numbers in slots.items()]
        for numbers, verdict in zip(slots.values(), self._compare(tasks), strict=True):
            for number in numbers:
                verdicts[number] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    def score(
        self, rollouts: Sequence[Rollout], examples: Mapping[str, Example], step: int
    ) -> list[Graded]:
        """Verdict and reward of each rollout, in order: a function of arguments and seed alone."""
        verdicts = self.grade(rollouts, examples)
        judged = verdicts
        if self._arm.relabel is not None:
            judged = self.grade(rollouts, self._relabel(rollouts, examples))
        if self._arm.votes is not None:
            judged = self._elect(verdicts, rollouts, examples)
        uniforms = self._uniforms(rollouts, step) if self._arm.random else [0.0] * len(rollouts)
        rewards = self._arm.rewards(judged, rollouts, examples, self._config, uniforms)
        rewards = shaped(rewards, rollouts, self._config)
        return [
            Graded(rollout, verdict, reward)
            for rollout, verdict, reward in zip(rollouts, verdicts, rewards, strict=True)
        ]

    def _with_sandbox(self, examples: Sequence[Example]) -> list[Example]:
        """The examples, their code confined as this scorer says, whatever the data say."""
        known = {
            id(e): replace(e, extra=_confined(e.extra, self._config.sandbox))
            if e.verifier in RUNS_CODE
            else e
            for e in examples
        }
        return [known[id(e)] for e in examples]

    def _compare(self, tasks: Sequence[Task]) -> list[Verdict]:
        try:
            return self._pool.run(tasks)
        finally:
            if not self._config.workers:
                self._pool.close()

    def _relabel(
        self, rollouts: Sequence[Rollout], examples: Mapping[str, Example]
    ) -> Mapping[str, Example]:
        assert self._arm.relabel is not None
        for rollout in rollouts:
            if rollout.example_id not in self._relabelled:
                example = _example(examples, rollout.example_id)
                self._relabelled[rollout.example_id] = self._arm.relabel(example, self._config)
        return self._relabelled

    def _elect(
        self,
        verdicts: Sequence[Verdict],
        rollouts: Sequence[Rollout],
        examples: Mapping[str, Example],
    ) -> list[Verdict]:
        """Verdicts against what each group elected; against nothing, no rollout is right."""
        assert self._arm.votes is not None
        groups: dict[int, list[int]] = {}
        for number, rollout in enumerate(rollouts):
            groups.setdefault(rollout.row, []).append(number)
        judged = [Verdict(False, Reason.NO_ANSWER)] * len(rollouts)
        fit: dict[tuple[str, str], bool] = {}  # the model wrote these golds: they may be none
        asked: list[tuple[int, Example]] = []
        for members in groups.values():
            example = _example(examples, rollouts[members[0]].example_id)
            gold = self._arm.votes([verdicts[n] for n in members], example)
            if gold is None:
                continue
            key = (gold.id, gold.answer)
            if key not in fit:
                fit[key] = not self.bad_golds([gold])
            asked += [(n, gold) for n in members if fit[key]]
        texts = [rollouts[n].text for n, _ in asked]
        found = self.grade_texts(texts, [gold for _, gold in asked])
        for (number, _), verdict in zip(asked, found, strict=True):
            judged[number] = verdict
        return judged

    def _uniforms(self, rollouts: Sequence[Rollout], step: int) -> list[float]:
        """One uniform per rollout from Philox keyed by seed; counter (step, row, index)."""
        # Arrays of uint64: numpy reads a list with an integer of 2**63 or more as floats.
        key = np.array([_key_word(self._seed), RANDOM_PURPOSE], dtype=np.uint64)
        counters = [np.array([0, r.index, r.row, step], dtype=np.uint64) for r in rollouts]
        return [
            np.random.Generator(np.random.Philox(key=key, counter=counter)).random()
            for counter in counters
        ]


@contextmanager
def _faults_named(example: Example) -> Iterator[None]:
    """GraderError for whatever a verifier raises by mistake: a fault, and never a wrong answer."""
    try:
        yield
    except OneshotError:
        raise
    except Exception as error:
        raise GraderError(
            f"verifier {example.verifier} failed by itself on example {example.id!r}: "
            f"{type(error).__name__}: {error}. This is a fault of the grader, not of the text."
        ) from error


def _key_word(seed: int) -> int:
    """The seed as one 64-bit word of a Philox key; longer seeds are mixed into one."""
    if 0 <= seed < 1 << 64:
        return seed
    return int(np.random.SeedSequence(abs(seed)).generate_state(1, np.uint64)[0])


def _confined(extra: Mapping[str, Any], sandbox: str) -> dict[str, Any]:
    parts = extra.get("parts")
    told: dict[str, Any] = {**extra, "sandbox": sandbox}
    if isinstance(parts, (list, tuple)):
        told["parts"] = [_confined(p, sandbox) if isinstance(p, Mapping) else p for p in parts]
    return told


def _example(examples: Mapping[str, Example], example_id: str) -> Example:
    try:
        return examples[example_id]
    except KeyError:
        raise DataError(
            f"a rollout answers example {example_id!r}, which is not among the {len(examples)} "
            "examples given."
        ) from None


def _key(example: Example) -> str:
    """What a verdict depends on besides the answer: the kind, the gold, the kind's options."""
    wanted = get_verifier(example.verifier).options
    options = {key: value for key, value in example.extra.items() if key in wanted}
    if example.verifier in TAKES_ALL:  # a user's function sees the whole example
        options = {**example.extra, " id": example.id, " question": example.question}
    return json.dumps([example.verifier, example.answer, options], sort_keys=True, default=plain)
