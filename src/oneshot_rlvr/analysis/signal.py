"""Whether a run had anything to learn from: a group of equal rewards has no advantage.

Where that is so of every group of every step, the policy term was 0 throughout (DAPO, arXiv
2503.14476, section 3.2), and whatever changed, the example did not do it.
"""

from __future__ import annotations

import pandas as pd


def no_signal(metrics: pd.DataFrame) -> str:
    """One sentence where no group of any step told right from wrong; "" where some did, or where it
    was not recorded. `metrics`: a row a step, as `records.Run.metrics` gives them."""
    share = metrics.get("train/zero_variance_share")
    if share is None or not share.notna().any() or float(share.min()) < 1:
        return ""
    accuracy = metrics.get("train/accuracy")
    why, what = "", "take an example of which some answers are right and some are wrong"
    if accuracy is not None and float(accuracy.max()) == 0:
        why = ": no rollout was right"
        what = "take an easier example, or a model that solves it now and then"
    elif accuracy is not None and float(accuracy.min()) == 1:
        why = ": every rollout was right"
        what = "take a harder example"
    return (
        f"All rollouts of every group earned the same reward{why}, so that nothing was learned "
        f"from the example; {what}."
    )
