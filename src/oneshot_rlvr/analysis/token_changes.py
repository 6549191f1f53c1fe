"""What training changed in a model's choices, from two models' positions on the same texts.

"RL changes few tokens, and to one that the base ranked high" (Akgül et al. 2026, arXiv 2605.06241)
in numbers: the share of positions whose most likely token differs, where the new one stood in the
base's list, how far the distributions lie apart, and which tokens gave way to which. Of the paper
its abstract's claim is known (1 to 3 % of the positions, always within the base's first five), not
how it counts: that here a position has changed where the two first choices differ, and which texts
are read, is this package's own. Arrays in, tables out; torch-free. Not here: running the models
(`policy.differences`), pages, words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oneshot_rlvr.errors import DataError
from oneshot_rlvr.estimators import Estimate, ratio_interval

RANKS = ((2, 2), (3, 5), (6, 10), (11, 100), (101, None))
"""Bands of the new choice's rank in the base's list. It cannot be 1: that is the base's choice."""

TOP = 5
"""The rank within which the paper finds nearly all of the new choices."""


class Arrays(Protocol):
    """What is read of `policy.differences.Positions`: arrays of M numbers."""

    @property
    def text(self) -> NDArray[np.int64]: ...
    @property
    def base_choice(self) -> NDArray[np.int64]: ...
    @property
    def trained_choice(self) -> NDArray[np.int64]: ...
    @property
    def rank(self) -> NDArray[np.int64]: ...
    @property
    def kl(self) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Band:
    """New choices whose rank in the base's list is `first` to `last` (None: or beyond)."""

    first: int
    last: int | None
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Pair:
    """How often the base's choice `base` gave way to `trained` (token ids), and the new one's
    median rank in the base's list."""

    base: int
    trained: int
    count: int
    rank: float


@dataclass(frozen=True, slots=True)
class TokenChanges:
    """Shares are of positions, their intervals over texts: positions of one text go together.

    within_top: of the changed positions, those whose new choice is within the base's first `TOP`;
    nan where none changed. kl: mean KL(trained || base) a position, in nats; kl_in_changed: the
    share of all of it that lies at changed positions.
    """

    texts: int
    positions: int
    changed: int
    share: Estimate
    within_top: Estimate | None
    bands: list[Band]
    pairs: list[Pair]
    kl: Estimate
    kl_in_changed: float
    by_text: NDArray[np.int64]

    def as_dict(self) -> dict[str, Any]:
        """For JSON, without pairs: their texts are the tokenizer's to give."""
        return {
            "texts": self.texts,
            "positions": self.positions,
            "changed": self.changed,
            "share_changed": self.share.as_dict(),
            f"within_base_top_{TOP}": self.within_top and self.within_top.as_dict(),
            "ranks": [
                {"from": b.first, "to": b.last, "count": b.count, "share": b.share}
                for b in self.bands
            ],
            "kl_nats": self.kl.as_dict(),
            "kl_share_at_changed": self.kl_in_changed,
        }


def token_changes(found: Arrays, texts: int, most_pairs: int = 20) -> TokenChanges:
    """The tables of all positions of `texts` texts. DataError where there is no position."""
    if not len(found.text):
        raise DataError("no text has a token, so that there is nothing to compare")
    changed = found.base_choice != found.trained_choice
    length_N = np.bincount(found.text, minlength=texts)
    changed_N = np.bincount(found.text, changed, minlength=texts).astype(np.int64)
    kl_N = np.bincount(found.text, found.kl, minlength=texts)
    ranks, count = found.rank[changed], int(changed.sum())
    total = float(found.kl.sum())
    within = None
    if count:
        near_N = np.bincount(found.text, changed & (found.rank <= TOP), minlength=texts)
        within = ratio_interval(near_N, changed_N, most=1.0)
    return TokenChanges(
        texts=texts,
        positions=len(found.text),
        changed=count,
        share=ratio_interval(changed_N, length_N, most=1.0),
        within_top=within,
        bands=_bands(ranks),
        pairs=_pairs(found.base_choice[changed], found.trained_choice[changed], ranks, most_pairs),
        kl=ratio_interval(kl_N, length_N),
        kl_in_changed=float(found.kl[changed].sum()) / total if total > 0 else 0.0,
        by_text=changed_N,
    )


def _bands(ranks: NDArray[np.int64]) -> list[Band]:
    bands = []
    for first, last in RANKS:
        inside = (ranks >= first) & (ranks <= (np.iinfo(np.int64).max if last is None else last))
        count = int(inside.sum())
        bands.append(Band(first, last, count, count / len(ranks) if len(ranks) else 0.0))
    return bands


def _pairs(
    base: NDArray[np.int64], trained: NDArray[np.int64], ranks: NDArray[np.int64], most: int
) -> list[Pair]:
    keys: Sequence[tuple[int, int]] = list(zip(base.tolist(), trained.tolist(), strict=True))
    counts = Counter(keys)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    found = []
    for (old, new), count in ordered:
        own = ranks[(base == old) & (trained == new)]
        found.append(Pair(old, new, count, float(np.median(own))))
    return found
