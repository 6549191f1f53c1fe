"""Settings as Hydra reads them on a command line (its override grammar, Hydra 1.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def arguments(settings: Mapping[str, Any]) -> Iterator[str]:
    """The overrides as Hydra reads them on a command line."""
    for key, value in settings.items():
        yield f"{key}={hydra_text(value)}"


def hydra_text(value: Any) -> str:
    """A value in Hydra's override grammar; text is quoted where it could mean something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{','.join(hydra_text(item) for item in value)}]"
    escaped = str(value).replace("'", "\\'")
    return f"'{escaped}'"
