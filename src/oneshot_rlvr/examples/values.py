"""Values as data files and trainers hand them over -> plain Python values, or what JSON text says.

Data sets pass through pandas, Arrow and numpy, which turn lists into arrays, and through CSV and
string columns, which turn tables into JSON text. Not here: what a field means (columns, gold).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def native(value: Any) -> Any:
    """Arrays as lists, numpy's scalars as Python's, mappings as dicts, all the way down."""
    if isinstance(value, Mapping):
        return {key: native(inner) for key, inner in value.items()}
    if hasattr(value, "tolist") and not isinstance(value, (str, bytes)):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [native(inner) for inner in value]
    return value


def decoded(value: Any) -> Any:
    """What a text of one JSON list or table holds; anything else, also broken JSON, as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
