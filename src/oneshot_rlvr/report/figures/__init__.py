"""One figure a file: `draw(runs: Runs) -> altair chart | None`, None when nothing is recorded.

The order here is the order on the page. Those in WIDE stand full width, those in HALVES two beside
each other, the others are panels over steps. A chart's `title` and `description` become its heading
and caption.
"""

from oneshot_rlvr.registry import Registry

_HERE = "oneshot_rlvr.report.figures"

FIGURES = Registry(
    "figure",
    {
        "accuracy": f"{_HERE}.accuracy:draw",
        "families": f"{_HERE}.families:draw",
        "transfer": f"{_HERE}.transfer:draw",
        "pass_at_k": f"{_HERE}.pass_at_k:draw",
        "format": f"{_HERE}.format:draw",
        "cross_domain": f"{_HERE}.cross_domain:draw",
        "pool": f"{_HERE}.pool:draw",
        "reward": f"{_HERE}.reward:draw",
        "zero_variance": f"{_HERE}.zero_variance:draw",
        "gradient_norm": f"{_HERE}.gradient_norm:draw",
        "entropy": f"{_HERE}.entropy:draw",
        "kl": f"{_HERE}.kl:draw",
        "length": f"{_HERE}.length:draw",
        "truncated": f"{_HERE}.truncated:draw",
        "boxed": f"{_HERE}.boxed:draw",
        "recheck": f"{_HERE}.recheck:draw",
        "post_saturation": f"{_HERE}.post_saturation:draw",
    },
)

WIDE = ("accuracy", "families", "transfer")
HALVES = ("pass_at_k", "format", "cross_domain", "pool")

__all__ = ["FIGURES", "HALVES", "WIDE"]
