"""What all tables of a recipe have in common, and the types they share.

Every number has bounds (a test walks all keys): what lies outside is a mistake that is told before
a run begins, and not an overflow in its middle.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST = 1_000_000_000
"""No count of a recipe is larger: beyond it lie slips of the keyboard and overflows."""
LARGEST_SEED = (1 << 63) - 1
"""What every generator that a seed goes to can take."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0, le=MOST)]
NONE_TEXT = "none"
"""How TOML, which has no word for it, says None of a table that a base has."""

Rows = Annotated[int, Field(gt=0, le=1_000_000)]
Length = Annotated[int, Field(gt=0, le=10_000_000)]
"""Tokens of one text."""
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Weight = Annotated[float, Field(ge=0.0, le=1000.0)]
"""What a term of the loss, a penalty or a rate is multiplied by."""
TopP = Annotated[float, Field(gt=0.0, le=1.0)]
TemplateArguments = dict[str, bool | int | float | str]
"""Names and values that a chat template reads."""


class Section(BaseModel):
    """A table of the recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
