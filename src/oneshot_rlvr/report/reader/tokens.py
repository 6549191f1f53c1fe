"""Token ids -> the pieces of text that they are, so that each can be shaded on its own.

By the tokenizer that lies with the run, its base model or in the hub's local cache; the network is
never asked. Without one, or where the pieces do not add up to the recorded text, texts are shown
whole. Lengths are counted in UTF-16 units, as JavaScript counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneshot_rlvr.records import schema
from oneshot_rlvr.report.data import setting

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BROKEN = "\N{REPLACEMENT CHARACTER}"  # what a decoder writes for a part of a character
_FILE = "tokenizer.json"


class Pieces:
    """Decodes with one tokenizer, remembering every token's own text."""

    def __init__(self, tokenizer: Tokenizer | None):
        self._tokenizer = tokenizer
        self._known: dict[int, str] = {}
        self._anchor: tuple[list[int], str] = ([], "")
        if tokenizer is not None:
            # Some decoders drop the space before a text's first word: decode behind another token.
            ids = tokenizer.encode("a", add_special_tokens=False).ids[-1:]
            self._anchor = (ids, tokenizer.decode(ids))

    @property
    def known(self) -> bool:
        """Whether there is a tokenizer."""
        return self._tokenizer is not None

    @classmethod
    def of(cls, directory: Path, recipe: Mapping[str, Any]) -> Pieces:
        """Those of a run; without a tokenizer at hand, ones that know no piece."""
        path = find_tokenizer(directory, recipe)
        if path is None:
            return cls(None)
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception:  # the library raises a bare Exception for a file that it cannot read
            return cls(None)

    def text(self, ids: Sequence[int]) -> str | None:
        """The whole text with its special tokens, as the model saw it; None without a tokenizer."""
        if self._tokenizer is None:
            return None
        return str(self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False))

    def lengths(self, ids: Sequence[int], text: str) -> list[int] | None:
        """How many UTF-16 units of the text each token is; None where they do not add up to it.

        The parts of one character count for the first of them.
        """
        if self._tokenizer is None:
            return None
        pieces: list[str] = []
        pending: list[int] = []
        for token in ids:
            pending.append(int(token))
            piece = self._piece(pending[0]) if len(pending) == 1 else self._behind(pending)
            if piece.endswith(_BROKEN) and len(pending) < 8:
                continue
            pieces += [piece, *[""] * (len(pending) - 1)]
            pending = []
        pieces += [""] * len(pending)
        if "".join(pieces) != text:
            return None
        return [utf16(piece) for piece in pieces]

    def _piece(self, token: int) -> str:
        piece = self._known.get(token)
        if piece is None:
            piece = self._known[token] = self._behind([token])
        return piece

    def _behind(self, ids: list[int]) -> str:
        assert self._tokenizer is not None
        anchor, text = self._anchor
        decoded = str(self._tokenizer.decode([*anchor, *ids], skip_special_tokens=True))
        return decoded[len(text) :] if decoded.startswith(text) else decoded


def find_tokenizer(directory: Path, recipe: Mapping[str, Any]) -> Path | None:
    """The tokenizer's file: of the run's result or checkpoints, of its base model, or in the cache
    of the hub."""
    places = [directory / schema.FINAL]
    places += sorted(directory.glob("checkpoints/*"), reverse=True)
    name = setting(recipe, "model.path")
    if name == "tiny":
        places.append(Path(__file__).parents[2] / "tiny" / "weights")
    elif name:
        places.append(Path(str(name)).expanduser())
    found = next((place / _FILE for place in places if (place / _FILE).is_file()), None)
    if found is not None or not name or name == "tiny":
        return found
    try:
        from huggingface_hub import try_to_load_from_cache

        revision = setting(recipe, "model.revision")
        cached = try_to_load_from_cache(str(name), _FILE, revision=revision)
    except (ImportError, ValueError, OSError):  # no hub's library, or no name of the hub's
        return None
    return Path(cached) if isinstance(cached, str) else None


def utf16(text: str) -> int:
    """The length as JavaScript counts it."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
