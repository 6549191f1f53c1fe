"""latex2sympy's grammar, read in two passes: the fast prediction first, the full one if it fails.

ANTLR's SLL prediction either gives the parse that full LL prediction gives or reports a syntax
error (ANTLR 4 reference, "two-stage parsing"), and is two to three times faster on answers.
Importing this imports sympy.
"""

from __future__ import annotations

from typing import Any

from antlr4.atn.PredictionMode import PredictionMode
from latex2sympy2_extended.latex2sympy2 import ConversionConfig, _Latex2Sympy

# The library's default folds the case of letters, by which R - r is r - R.
_CONFIG = ConversionConfig(lowercase_symbols=False)


class _Fast(_Latex2Sympy):
    def create_parser(self, latex_str: str) -> Any:
        parser = super().create_parser(latex_str)
        parser._interp.predictionMode = PredictionMode.SLL
        return parser


def read(latex: str, degrees: bool = False) -> Any:
    r"""The sympy object that a normalised LaTeX text spells; symbols are real.

    degrees: `50^\\circ` is 5 pi / 18, as inside a sine; else it is 50.
    Raises whatever the grammar raises on text that it does not know.
    """
    try:
        return _Fast({}, True, degrees, _CONFIG).parse(latex)
    except MemoryError:
        raise
    except Exception:
        return _Latex2Sympy({}, True, degrees, _CONFIG).parse(latex)
