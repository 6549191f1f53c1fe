"""What a benchmark's TOML file may say, and reading it.

The smallest of a user's own has three lines:

    file = "questions.jsonl"        # beside the TOML file; JSONL, Parquet or CSV
    verifier = "numeric"
    prompt = "{question} Put the number in \\boxed{}."

Not here: the questions themselves (benchmark.py).
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.evaluation.builders import BUILDERS
from oneshot_rlvr.examples.gold import FORMS
from oneshot_rlvr.settings import explain

PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")
"""A field in a prompt: "{question}". Other braces are text, so LaTeX needs no escaping."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schema(_Table):
    """How rows hold what is asked. Absent fields of `hub` are as at the top."""

    columns: dict[str, str | list[str]] | None = Field(
        None,
        description="ours = theirs: question, answer, id, domain, family, or an option's name; "
        "several of theirs make one list",
    )
    gold: str | None = Field(
        None, description="how the answer column holds the gold (examples.gold)"
    )
    rows: int | None = Field(None, ge=1, description="published row count; None: not checked")

    @model_validator(mode="after")
    def _knows_form(self) -> Schema:
        if self.gold is not None and self.gold not in FORMS:
            raise ValueError(f'gold is "{self.gold}"; wanted one of {", ".join(FORMS)}')
        return self


class Hub(Schema):
    """Where the hub has the data set, and what is different there."""

    id: str = Field(description="owner/name")
    config: str | None = None
    split: str = Field("test", description="the hub's name of the split; it may end in [:1000]")

    @property
    def path(self) -> str:
        """As the examples readers take it."""
        return f"hub:{self.id}:{self.config}" if self.config else f"hub:{self.id}"


class Decoding(_Table):
    """How answers were sampled where the benchmark's numbers were published."""

    samples: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0)


class Description(Schema):
    """One benchmark, as its TOML file says it."""

    title: str = ""
    source: str = Field("", description="paper or page")
    licence: str = ""
    note: str = ""
    generator: Literal["tiny", "arithmetic"] | None = Field(
        None, description="questions are generated, not read"
    )
    domains: list[str] = Field(
        default_factory=list, description="tiny: only these domains; empty: all"
    )
    builder: str | None = Field(
        None, description="what columns cannot say: a function of evaluation/builders.py"
    )
    shuffle: bool = Field(
        False, description="the order of `choices` is drawn, once and for all, from the row's id"
    )
    per_family: int = Field(25, ge=1, description="generated questions a family, unless asked")
    file: str | None = Field(
        None, description="looked for beside the TOML, then in the data folder"
    )
    hub: Hub | None = None
    verifier: str = "math_answer"
    options: dict[str, Any] = Field(
        default_factory=dict, description="the verifier's, for all rows"
    )
    prompt: str = Field("{question}", description="fields in braces; no other brace is special")
    system: str = Field("", description="a system turn; empty: none")
    decoding: Decoding = Decoding()

    @model_validator(mode="after")
    def _has_questions(self) -> Description:
        if self.builder is not None and self.builder not in BUILDERS:
            raise ValueError(f'builder is "{self.builder}"; wanted one of {", ".join(BUILDERS)}')
        if not (self.generator or self.file or self.hub):
            raise ValueError("no questions are named; give file, hub or generator")
        if "question" not in PLACEHOLDER.findall(self.prompt):
            raise ValueError(f'prompt is {self.prompt!r}; wanted "{{question}}" in it')
        return self

    def schema_of(self, *, hub: bool) -> Schema:
        """Columns, gold form and row count of the file, or of the hub's copy."""
        own = Schema(columns=self.columns or {}, gold=self.gold or "plain", rows=self.rows)
        if not hub or self.hub is None:
            return own
        return Schema(
            columns=own.columns if self.hub.columns is None else self.hub.columns,
            gold=self.hub.gold or own.gold,
            rows=self.hub.rows or own.rows,
        )


def read_description(path: Path) -> Description:
    """A benchmark's TOML file. DataError, with the key and what was wanted, when it is not one."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path} cannot be read as a benchmark: {error}.") from error
    try:
        return Description.model_validate(data)
    except ValidationError as error:
        raise DataError(f"{path}: {explain(error, Description)}") from error
