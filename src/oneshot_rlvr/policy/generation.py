"""Where a model's generation_config.json lies: beside its weights, here or on the hub. No torch."""

from __future__ import annotations

from pathlib import Path

GENERATION_CONFIG = "generation_config.json"


def generation_config_file(model: str, revision: str | None = None) -> Path | None:
    """The file of a directory, a hub name, or "tiny"; None where there is none."""
    if model == "tiny":
        from oneshot_rlvr import tiny

        model = str(tiny.weights_directory())
    folder = Path(model).expanduser()
    if folder.is_dir():
        path = folder / GENERATION_CONFIG
        return path if path.is_file() else None
    from transformers.utils import cached_file

    found = cached_file(
        model,
        GENERATION_CONFIG,
        revision=revision,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)
