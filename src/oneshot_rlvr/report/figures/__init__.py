"""One figure a file: `draw(run: RunData) -> altair chart | None`, None when nothing is recorded.

The order here is the order on the page: the first three stand full width, the others are panels. A
chart's `title` and `description` become its heading and caption.
"""

from oneshot_rlvr.registry import Registry

_HERE = "oneshot_rlvr.report.figures"

FIGURES = Registry(
    "figure",
    {
        "accuracy": f"{_HERE}.accuracy:draw",
        "families": f"{_HERE}.families:draw",
        "transfer": f"{_HERE}.transfer:draw",
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

__all__ = ["FIGURES", "WIDE"]
