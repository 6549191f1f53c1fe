r"""LaTeX's commands that say nothing but the font of what they hold: one list for every reader.

Calligraphic and blackboard letters are not among them, nor are accents: those name other things.
"""

from __future__ import annotations

FONT = (
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|sl|up|md|normal)?|math(?:bf|it|rm|sf|tt|normal)|[mh]box|emph"
    r"|operatorname\*?)"
)
"""A pattern without groups; what it takes is followed by `\\s?\\{`."""
