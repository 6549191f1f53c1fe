"""What all tables of a recipe have in common, and the types they share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
TopP = Annotated[float, Field(gt=0.0, le=1.0)]
TemplateArguments = dict[str, bool | int | float | str]
"""Names and values that a chat template reads."""


class Section(BaseModel):
    """A table of the recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
