"""GRPO that clips higher than lower, without KL (arXiv 2503.14476).

Yu et al. 2025. Its four changes are keys that `config/presets.py` sets: clip widths of 0.2 and
0.28, the token-mean, a reward that falls near the length limit (`overlong.py`) and the replacement
of rows without variance (`train/resampling.py`).
"""

from __future__ import annotations

from oneshot_rlvr.algorithms.algorithm import Algorithm
from oneshot_rlvr.algorithms.grpo import clipped, normalized

DAPO = Algorithm(name="dapo", advantage=normalized, objective=clipped)
