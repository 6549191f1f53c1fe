"""any_of and all_of: several kinds on one text.

`extra["parts"]` is a list of tables {"verifier", "answer", ...options of that kind}; a part
without an answer takes the example's. any_of: one part is enough; all_of: every part must accept.
The score of a wrong answer is the best part's (any_of) or the worst part's (all_of).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.types import Example, Reason, Verdict
from oneshot_rlvr.verifiers.base import Verifier, shown, wrong

MAX_DEPTH = 3  # combinations of combinations


class _Combination(Verifier):
    options = frozenset({"parts"})
    every: ClassVar[bool]

    def extract(self, text: str, example: Example) -> str | Verdict:
        parts(example)  # raises for parts that make no sense
        return text if text.strip() else wrong(Reason.NO_ANSWER, "")

    def quick(self, answer: str, example: Example) -> Verdict | None:
        return self._decide(answer, example, quick=True)

    def compare(self, answer: str, example: Example) -> Verdict:
        verdict = self._decide(answer, example, quick=False)
        assert verdict is not None  # every part gave one
        return verdict

    def warm(self) -> None:
        from oneshot_rlvr.verifiers import get_verifier

        get_verifier("math_answer").warm()  # the heaviest part, likely wanted

    def check_gold(self, example: Example) -> None:
        """DataError for a part whose own verifier rejects its gold; all_of: also for the whole."""
        from oneshot_rlvr.verifiers import get_verifier

        for part in parts(example):
            get_verifier(part.verifier).check_gold(part)
        if self.every and example.answer.strip():
            super().check_gold(example)

    def gold_text(self, example: Example) -> str:
        """What satisfies the first part (any_of), or the boxed gold (all_of)."""
        from oneshot_rlvr.verifiers import get_verifier

        if self.every:
            return super().gold_text(example)
        first = parts(example)[0]
        return get_verifier(first.verifier).stated_gold(first)

    def _decide(self, text: str, example: Example, quick: bool) -> Verdict | None:
        """The first verdict that settles the matter, else the last; None if one is still open."""
        verdict: Verdict | None = None
        failed: Verdict | None = None  # of all_of: the worst part that has a score
        unsettled = False
        score = 0.0  # of any_of: the best part's
        for part in parts(example):
            latest = _quick(text, part) if quick else _full(text, part)
            if latest is None:
                unsettled = True
                continue
            verdict = latest
            score = max(score, latest.score)
            if latest.correct is self.every:
                continue
            if latest.correct or not latest.score:
                return latest
            failed = latest if failed is None or latest.score < failed.score else failed
        if unsettled:
            return None
        if failed is not None or verdict is None or verdict.correct:
            return failed or verdict
        return replace(verdict, score=score)


class AnyOf(_Combination):
    """Options: parts."""

    name = "any_of"
    every = False


class AllOf(_Combination):
    """Options: parts."""

    name = "all_of"
    every = True


def parts(example: Example, depth: int = 1) -> list[Example]:
    """The examples that the parts stand for. DataError where they make no sense."""
    from oneshot_rlvr.verifiers import VERIFIERS

    raw = example.extra.get("parts")
    if not isinstance(raw, (list, tuple)) or not raw or depth > MAX_DEPTH:
        raise DataError(
            f"example {example.id!r}: option parts is {shown(str(raw))}; wanted a list of tables "
            f'such as {{"verifier": "numeric", "answer": "5"}}, nested at most {MAX_DEPTH} deep.'
        )
    found = []
    for table in raw:
        if not isinstance(table, Mapping) or table.get("verifier") not in list(VERIFIERS):
            raise DataError(
                f"example {example.id!r}: a part is {shown(str(table))}; it needs a `verifier`, "
                f"one of {', '.join(VERIFIERS)}."
            )
        part = Example(
            id=example.id,
            question=example.question,
            answer=str(table.get("answer", example.answer)),
            verifier=table["verifier"],
            extra={k: v for k, v in table.items() if k not in ("verifier", "answer")},
        )
        if part.verifier in ("any_of", "all_of"):
            parts(part, depth + 1)
        found.append(part)
    return found


def _quick(text: str, part: Example) -> Verdict | None:
    from oneshot_rlvr.verifiers import get_verifier

    verifier = get_verifier(part.verifier)
    answer = verifier.extract(text, part)
    if isinstance(answer, Verdict):
        return answer
    quick = verifier.quick(answer, part)
    return quick and verifier.scored(quick, answer, part)


def _full(text: str, part: Example) -> Verdict:
    from oneshot_rlvr.verifiers import get_verifier

    return get_verifier(part.verifier).check(text, part)
