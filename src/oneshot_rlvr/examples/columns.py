"""A row's fields -> an Example: our own columns, verl's, or TRL's.

own   `question` (or a chat in `messages`), `answer`; optional `id`, `verifier`, `domain`, `family`
verl  `prompt` (chat or text), `reward_model.ground_truth`; optional `data_source`, `ability`,
      `extra_info` (its `index` is the id)
TRL   `prompt` (chat or text), `solution`

A gold may be a worked solution in one of the known forms (gold.py); chats and tables may be JSON
text. A chat ends with its last user turn: what an assistant says behind it is the solution. Every
other column goes to `Example.extra`, where verifiers look for their options. Not here: reading
files (readers.py), ids and duplicates (load.py), whether a verifier exists.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.examples.gold import (
    NO_PROSE,
    ProseError,
    answer_of,
    calculated,
    number_word,
    plain,
    undollared,
)
from oneshot_rlvr.examples.readers import Row
from oneshot_rlvr.examples.values import decoded, native
from oneshot_rlvr.registry import nearest
from oneshot_rlvr.types import Example, Message

LAYOUTS: dict[str, tuple[str, str]] = {
    "verl": ("prompt", "reward_model"),
    "own": ("question", "answer"),
    "trl": ("prompt", "solution"),
}
"""Layout -> its required columns, in the order in which they are recognised."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "question": ("problem", "query", "input", "instruction", "prompt", "text", "q"),
    "prompt": ("question", "problem", "messages"),
    "answer": ("solution", "final_answer", "gold", "target", "label", "ground_truth", "a"),
    "solution": ("answer", "final_answer", "gold", "target", "label", "ground_truth"),
    "reward_model": ("ground_truth", "answer", "solution"),
}
"""What other data sets call a required column; used in advice only, never guessed."""

OPTIONS_SAY_IT = frozenset(
    {"python_code", "json_answer", "chess_move", "any_of", "all_of", "custom", "reasoning_gym"}
)
"""Kinds whose gold may be blank or left out, because options say what is right: tests, parts, a
schema, a function. Their gold checks refuse it where they do not."""

GOLDLESS = ("python_code", "chess_move", "json_answer")
"""Those of them that a message names."""

_SPELT_CHAT = re.compile(r"\s*\[\s*\{\s*'(?:role|content)'\s*:")

_COMMON = ("id", "verifier", "domain", "family")


def tell_layout(rows: Sequence[Row], columns: str = "auto", verifier: str = "math_answer") -> str:
    """The layout of the rows: `columns` itself, or told from all column names together.

    Rows whose kinds are all told by options (tests, a schema) need no gold. DataError when a
    required column is in no row; it names the column that comes nearest.
    """
    present = list(dict.fromkeys(name for row in rows for name in row.fields))
    kinds = {row.fields.get("verifier") or verifier for row in rows}
    if kinds <= OPTIONS_SAY_IT and "prompt" not in present:
        present.append("answer")
    if columns != "auto":
        _require(columns, present, rows[0].where, kinds)
        return columns
    complete = [layout for layout in LAYOUTS if not _lacking(layout, present)]
    if complete:
        return complete[0]
    # The layout with most of its columns there is the one to give advice on; ours on a tie.
    likely = min(("own", "verl", "trl"), key=lambda layout: len(_lacking(layout, present)))
    _require(likely, present, rows[0].where, kinds)
    raise AssertionError("a complete layout was not recognised")


def to_example(row: Row, layout: str, *, verifier: str, prompt_suffix: str = "") -> Example:
    """One row as an Example; `id` is "" when the row has none.

    `verifier` is for rows that name none. `prompt_suffix` is appended to the last user turn after
    a space, unless the turn ends with it already (verl's published prompts do). DataError names
    the place and the field of what is missing or is not text.
    """
    draft = _BUILDERS[layout](Row(row.where, native(row.fields)), verifier)
    chat, answer, extra = draft["chat"], draft["answer"], draft["extra"]
    if isinstance(chat, str):
        question = _suffixed(chat, prompt_suffix)
        messages: tuple[Message, ...] = ()
    else:
        messages = _suffixed_chat(chat, prompt_suffix)
        question = next(m["content"] for m in reversed(messages) if m["role"] == "user")
    return Example(
        id=draft["id"] or "",
        question=question,
        answer=answer,
        verifier=draft["verifier"] or verifier,
        domain=draft["domain"] or "",
        family=draft["family"] or "",
        messages=messages,
        extra=extra,
    )


def renamed(rows: Sequence[Row], rename: Mapping[str, str]) -> list[Row]:
    """Rows with columns renamed, theirs -> ours; a renamed column replaces its namesake."""
    present = {name for row in rows for name in row.fields}
    for name in rename:
        if rows and name not in present:
            raise DataError(
                f'{rows[0].where}: there is no column "{name}" to rename; the columns are '
                f"{', '.join(sorted(present))}.{_nearest(name, sorted(present))}"
            )
    return [Row(row.where, _renamed_fields(row.fields, rename)) for row in rows]


def _renamed_fields(fields: Mapping[str, Any], rename: Mapping[str, str]) -> dict[str, Any]:
    moved = {rename[name]: value for name, value in fields.items() if name in rename}
    stay = {n: v for n, v in fields.items() if n not in rename and n not in moved}
    return stay | moved


def _own(row: Row, verifier: str) -> dict[str, Any]:
    fields = row.fields
    named = _named(row)
    column = "question" if fields.get("question") is not None else "messages"
    if fields.get(column) is None:
        raise DataError(f'{row.where} has no "question"; every example needs one.')
    return {
        "chat": _prompt(row, column, fields[column]),
        "answer": gold_of(row.where, "answer", fields.get("answer"), named["verifier"] or verifier),
        "extra": _rest(fields, {"question", "messages", "answer"}),
        **named,
    }


def _trl(row: Row, verifier: str) -> dict[str, Any]:
    fields = row.fields
    named = _named(row)
    kind = named["verifier"] or verifier
    gold = gold_of(row.where, "solution", fields.get("solution"), kind)
    return {
        "chat": _prompt(row, "prompt", fields.get("prompt")),
        "answer": (undollared(gold) or gold) if kind in NO_PROSE else gold,
        "extra": _rest(fields, {"prompt", "solution"}),
        **named,
    }


def _verl(row: Row, verifier: str) -> dict[str, Any]:
    fields = row.fields
    reward_model, info = decoded(fields.get("reward_model")), decoded(fields.get("extra_info"))
    if not isinstance(reward_model, Mapping):
        raise DataError(
            f'{row.where}, field "reward_model", is {_kind(reward_model)}; wanted '
            "{ground_truth: the gold} (verl's columns)."
        )
    if info is None:
        info = {}
    if not isinstance(info, Mapping):
        raise DataError(
            f'{row.where}, field "extra_info", is {_kind(info)}; wanted a table of options, or '
            "JSON text of one (verl's columns)."
        )
    kind = _text(row, "verifier", fields.get("verifier") or info.get("verifier"))
    gold = reward_model.get("ground_truth")
    index = info.get("index")
    name, own_id = ("id", fields.get("id")) if index is None else ("extra_info.index", index)
    return {
        "chat": _prompt(row, "prompt", fields.get("prompt")),
        # verl's files may hold a blank gold on purpose: the published pool of 1,209 has one. It
        # is kept, so that the pool stays whole; no verifier accepts it when golds are checked.
        "answer": ""
        if isinstance(gold, str) and not gold.strip()
        else gold_of(row.where, "reward_model.ground_truth", gold, kind or verifier),
        "extra": _rest(fields, {"prompt", "reward_model", "extra_info", "data_source", "ability"})
        | {k: v for k, v in info.items() if k not in ("index", "verifier") and v is not None},
        "id": _text(row, name, own_id),
        # verl hands `extra_info` to the reward alone, so that is where its files name the kind.
        "verifier": kind,
        "domain": _text(row, "domain", fields.get("domain", fields.get("ability"))),
        "family": _text(row, "family", fields.get("family", fields.get("data_source"))),
    }


_BUILDERS: dict[str, Callable[[Row, str], dict[str, Any]]] = {
    "own": _own, "trl": _trl, "verl": _verl,
}  # fmt: skip


def _named(row: Row) -> dict[str, str | None]:
    return {name: _text(row, name, row.fields.get(name)) for name in _COMMON}


def _prompt(row: Row, column: str, value: Any) -> str | tuple[Message, ...]:
    """Text that is not blank, or a chat up to its last user turn; its turns are text."""
    chat = decoded(value) if column != "question" else value
    if isinstance(chat, list) and all(isinstance(t, Mapping) and "role" in t for t in chat):
        value = chat
    if isinstance(value, str):
        if column != "question" and _SPELT_CHAT.match(value):
            raise DataError(
                f'{row.where}, field "{column}", is a chat that Python has printed '
                f"({value[:40]!r} ...); wanted the list itself, or JSON text of it (json.dumps)."
            )
        if not value.strip():
            raise DataError(
                f'{row.where}, field "{column}", is blank; every example needs a question.'
            )
        return _encodable(row, column, value)
    if not isinstance(value, list | tuple):
        raise DataError(
            f'{row.where}, field "{column}", is {_kind(value)}; wanted text'
            + (" or a list of {role, content}." if column != "question" else ".")
        )
    turns = []
    for number, turn in enumerate(value):
        place = f"{column}[{number}]"
        if not isinstance(turn, Mapping) or not all(
            isinstance(turn.get(key), str) for key in ("role", "content")
        ):
            raise DataError(
                f'{row.where}, field "{place}", is {_kind(turn)}; wanted a turn '
                '{"role": text, "content": text}.'
            )
        content = _encodable(row, f"{place}.content", turn["content"])
        turns.append({"role": turn["role"], "content": content})
    if not any(t["role"] == "user" and t["content"].strip() for t in turns):
        raise DataError(
            f'{row.where}, field "{column}", has no user turn; one must ask the question.'
        )
    # A table of tuning data ends with the assistant's answer: the solution, in the prompt. Whatever
    # it calls the assistant ("model", "gpt"): only these speak to it.
    if turns[-1]["role"].casefold() not in ("user", "system", "developer", "tool", "function"):
        turns = turns[: 1 + max(i for i, turn in enumerate(turns) if turn["role"] == "user")]
    return tuple(turns)


def gold_of(where: str, column: str, value: Any, verifier: str) -> str:
    """The gold of an example of kind `verifier`, out of the known forms of a worked solution.

    DataError, which names `where` and `column`, for a list, a table, nothing, or prose.
    """
    try:
        gold = answer_of(value, verifier)
    except TypeError:
        raise DataError(
            f'{where}, field "{column}", is {_kind(value)}; wanted the gold as text or a number.'
        ) from None
    except ProseError as error:
        raise DataError(
            f'{where}, field "{column}", is prose or a printed list ({str(error)[:60]!r} ...), '
            f"which no {verifier} answer equals. Give the answer alone, or a solution that ends in "
            '\\boxed{answer}, "#### answer" or <answer>answer</answer>.'
        ) from None
    if gold is None and verifier in OPTIONS_SAY_IT:
        return ""
    if gold is None:
        raise DataError(
            f'{where} has no gold in "{column}"; every example needs a verified answer.'
        )
    if verifier in NO_PROSE and (number := number_word(gold)) is not None:
        raise DataError(
            f'{where}, field "{column}", is a number in words ({gold!r}), which no answer in '
            f"digits equals. Write {number}."
        )
    if verifier == "math_answer" and (result := calculated(gold)) is not None:
        raise DataError(
            f'{where}, field "{column}", is a calculation ({gold!r}), so that only the whole of it '
            f"would be right. Give the answer alone: {result}."
        )
    return _encodable(Row(where, {}), column, gold)


def _text(row: Row, column: str, value: Any) -> str | None:
    try:
        text = plain(value)
    except TypeError:
        raise DataError(
            f'{row.where}, field "{column}", is {_kind(value)}; wanted text or a number.'
        ) from None
    return None if text is None else _encodable(row, column, text)


def _encodable(row: Row, column: str, text: str) -> str:
    # A lone surrogate is legal in JSON escapes and crashes tokenizers and UTF-8 writers alike.
    match = re.search(r"[\ud800-\udfff]", text)
    if match:
        raise DataError(
            f'{row.where}, field "{column}", holds half a character '
            f"(\\u{ord(match[0]):04x} alone, at {match.start()}); write the whole character."
        )
    return text


def _suffixed(text: str, suffix: str) -> str:
    if not suffix or text.rstrip().endswith(suffix.strip()):
        return text
    return f"{text} {suffix}"


def _suffixed_chat(chat: tuple[Message, ...], suffix: str) -> tuple[Message, ...]:
    last = max(i for i, m in enumerate(chat) if m["role"] == "user")
    turn = {"role": "user", "content": _suffixed(chat[last]["content"], suffix)}
    return (*chat[:last], turn, *chat[last + 1 :])


def _rest(fields: Mapping[str, Any], taken: Iterable[str]) -> dict[str, Any]:
    # Parquet gives every column to every row, so that an absent option arrives as None.
    known = {*taken, *_COMMON}
    return {n: v for n, v in fields.items() if n not in known and v is not None}


def _lacking(layout: str, present: Sequence[str]) -> list[str]:
    lacking = [name for name in LAYOUTS[layout] if name not in present]
    if layout == "own" and "messages" in present:
        lacking = [name for name in lacking if name != "question"]
    return lacking


def _require(layout: str, present: Sequence[str], where: str, kinds: Collection[str]) -> None:
    lacking = _lacking(layout, present)
    if not lacking:
        return
    name = lacking[0]
    free = [n for n in present if n not in LAYOUTS[layout]]
    # Whatever else is ours under another name is renamed in the same go.
    found = {theirs: ours for ours in lacking if (theirs := _nearest_of(ours, free)) is not None}
    found |= {theirs: theirs.strip().lower() for theirs in free
              if theirs not in _COMMON and theirs.strip().lower() in _COMMON}  # fmt: skip
    nearest_one = _nearest_of(name, free)
    hint = f' The nearest is "{nearest_one}".' if nearest_one else ""
    table = ", ".join(f"{json.dumps(theirs)}: {json.dumps(ours)}" for theirs, ours in found.items())
    rename = f"--examples.rename '{{{table}}}'" if found else f'their name = "{name}"'
    kind = next((k for k in sorted(kinds) if k not in OPTIONS_SAY_IT), "")
    meant = nearest(kind, list(GOLDLESS)) if name == "answer" and kind else ""
    other = f' The verifier here is "{kind}".{meant}' if meant else ""
    source = where.rpartition(", ")[0] or where
    raise DataError(
        f'{source} has no column "{name}"; it has {", ".join(present) or "none"}.'
        f"{hint} Rename the column, or set examples.rename ({rename}). "
        "Known layouts: own (question, answer), verl (prompt, reward_model), "
        "TRL (prompt, solution). A verifier's options (tests, fen, choices, unit ...) are columns "
        f"of their own names; no gold is needed where they say it ({', '.join(GOLDLESS)}).{other}"
    )


def _nearest_of(name: str, present: Sequence[str]) -> str | None:
    """The column that is ours but for its case, is spelt alike, or is called so elsewhere."""
    same = [theirs for theirs in present if theirs.strip().lower() == name]
    close = same or difflib.get_close_matches(name, present, n=1, cutoff=0.6)
    called = {theirs.strip().lower(): theirs for theirs in reversed(present)}
    return next(
        iter(close or [called[word] for word in SYNONYMS.get(name, ()) if word in called]), None
    )


def _nearest(name: str, present: Sequence[str]) -> str:
    close = _nearest_of(name, present)
    return f' The nearest is "{close}".' if close else ""


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        tuple: "a list",
        bool: "a truth value",
        str: "text",
        bytes: "bytes",
        type(None): "missing",
    }
    return names.get(type(value), f"{value!r:.40}, a {type(value).__name__}")
