"""A recorded rollout or held-out answer -> the row that the page's script shows.

A row is a small JSON object with short keys, since a file holds thousands:

    k     its name in a deep link: STEP.ROW.INDEX, or EVALUATION.STEP.QUESTION.SAMPLE
    s, of step; id of the example or question       t     text
    v, y, x  1 right or 0 wrong; reason; what was read as the answer
    n, f  generated tokens; 1 finished or 0 cut off
    w, a  reward and advantage                      c, l  each token's length in UTF-16 units, and
                                                          its log-probability in hundredths of a nat
    e, m  (answers) evaluation; sample
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from oneshot_rlvr.report.reader.tokens import Pieces

ROLLOUT_COLUMNS = (
    "step", "row", "index", "example_id", "tokens", "logprobs", "text", "finished", "correct",
    "reason", "extracted", "reward", "advantage",
)  # fmt: skip
ANSWER_COLUMNS = (
    "example_id", "domain", "family", "question", "answer", "sample", "text", "tokens", "finished",
    "correct", "reason", "extracted",
)  # fmt: skip
ASKED = "asked"
"""The samples' column that holds the prompt as the model saw it, where it was recorded."""


def rollout_row(
    values: Mapping[str, Any], pieces: Pieces, *, shaded: bool = True
) -> dict[str, Any]:
    """The row of one rollout, `values` being its columns; `shaded`: with its tokens."""
    text, tokens = str(values["text"]), values["tokens"]
    step = int(values["step"])
    row = {
        "k": f"{step}.{int(values['row'])}.{int(values['index'])}",
        "s": step,
        "of": str(values["example_id"]),
        "t": text,
        **_verdict(values),
        "n": len(tokens),
        "f": int(bool(values["finished"])),
        "w": _number(values["reward"]),
        "a": _number(values["advantage"]),
    }
    logprobs = values.get("logprobs")
    if shaded and logprobs is not None and len(logprobs) == len(tokens):
        lengths = pieces.lengths(tokens, text)
        if lengths is not None:
            row["c"] = lengths
            row["l"] = [_hundredths(value) for value in logprobs]
    return row


def answer_row(evaluation: str, step: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The row of one held-out answer."""
    tokens = values["tokens"]
    known = tokens is not None and not (isinstance(tokens, float) and math.isnan(tokens))
    return {
        "k": f"{evaluation}.{step}.{values['example_id']}.{int(values['sample'])}",
        "s": step,
        "e": evaluation,
        "of": str(values["example_id"]),
        "m": int(values["sample"]),
        "t": str(values["text"]),
        **_verdict(values),
        "n": int(tokens) if known else None,
        "f": int(bool(values["finished"])),
    }


def question_told(values: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown of a held-out question, beside each of its answers."""
    told = {key: str(values.get(key) or "") for key in ("question", "answer", "domain", "family")}
    asked = values.get(ASKED)
    return {**told, ASKED: asked if isinstance(asked, str) and asked else None}


def example_told(
    examples: Sequence[Mapping[str, Any]], example_id: str, prompt: str | None
) -> dict[str, Any]:
    """The same of a training example: `prompt` is the recorded one, decoded."""
    known = next((item for item in examples if str(item.get("id")) == example_id), {})
    return question_told({**known, ASKED: prompt})


def _verdict(values: Mapping[str, Any]) -> dict[str, Any]:
    extracted = values["extracted"]
    return {
        "v": int(bool(values["correct"])),
        "y": str(values["reason"]),
        "x": extracted if isinstance(extracted, str) else None,
    }


def _number(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None


def _hundredths(value: Any) -> int:
    number = float(value)
    return round(100 * number) if math.isfinite(number) else 0
