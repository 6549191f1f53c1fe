"""Whose fault it is that grading processes die: the texts', or the verifier's own.

One text that brings a process down has itself to blame and is wrong. Deaths that follow the
verifier are a broken grader, and no wrong answer:

- a process that exits (no signal) was ended by a call in the verifier, which no text makes: an
  error at the third text;
- three in a row that were killed, overran or bloated, with no comparison done in between, are held
  against the gold: a verifier that does no better on it is broken; one that comes to a verdict is
  not, and is asked again after twice as many.

Not here: processes and who has which task (pool.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from oneshot_rlvr.errors import GraderError, OneshotError
from oneshot_rlvr.types import Example, Verdict
from oneshot_rlvr.verifiers import get_verifier

FEW = 3


@dataclass(slots=True)
class _Record:
    exits: int = 0
    in_a_row: int = 0
    ask_gold_at: int = FEW


class Faults:
    """What befell each verifier's comparisons, over all batches of a pool."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def done(self, example: Example) -> None:
        """A comparison came to a verdict."""
        self._record(example).in_a_row = 0

    def exited(self, example: Example, code: int) -> None:
        """A text's processes ended by themselves. GraderError for the third such text."""
        record = self._record(example)
        record.exits += 1
        if record.exits >= FEW:
            raise GraderError(
                f"{_named(example)} ends its process (exit code {code}): {record.exits} texts had "
                f"no verdict, the last for example {example.id!r}. It must return one; this is a "
                "fault of the grader, not of the texts."
            )

    def failed(self, example: Example) -> str | None:
        """A text had no verdict by a signal, the deadline or memory.

        The answer to hold the verifier against, where it is time for that.
        """
        record = self._record(example)
        record.in_a_row += 1
        if record.in_a_row < record.ask_gold_at:
            return None
        record.ask_gold_at *= 2
        verifier = get_verifier(example.verifier)
        try:
            answer = verifier.extract(verifier.gold_text(example), example)
        except OneshotError:
            return None
        return None if isinstance(answer, Verdict) else answer

    def failed_on_gold(self, example: Example, how: str) -> GraderError:
        """The error for a verifier that does no better on the gold."""
        count = self._record(example).in_a_row
        return GraderError(
            f"{_named(example)} is broken: {count} texts in a row had no verdict, and neither had "
            f"the gold of example {example.id!r} ({how}). This is a fault of the grader, not of "
            "the texts. Raise reward.timeout_seconds or reward.memory_megabytes if it needs more."
        )

    def _record(self, example: Example) -> _Record:
        return self._records.setdefault(_named(example), _Record())


def _named(example: Example) -> str:
    function = example.extra.get("function") if example.verifier == "custom" else None
    return f"verifier {example.verifier}" + (f" ({function})" if function else "")
