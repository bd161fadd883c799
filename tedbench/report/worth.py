"""What the questions are worth: how alike pairs on a photo are, effective pairs, what could be found, variances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tedbench import design, stats
from tedbench.report.shown import Key, Shown
from tedbench.report.table import LEVEL, Material

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run", "method", "strength", "metric", "spec", "pairs", "photos", "seeds", "correlation", "effective", "detectable",
    "image", "pair", "seed",
)  # fmt: skip


def table(at: Material, shown: Mapping[Key, Shown]) -> pd.DataFrame:
    """A row a method and metric at the strength shown, with `COLUMNS`: `design.Design` and `design.Components`.

    nan where a value is infinite (the PSNR of equal images) or the data cannot tell.

    Args:
        at: the material at the strengths shown.
        shown: those strengths.
    """
    import pandas as pd

    rows = []
    for (run, method, identity), mine in at.scores.groupby(["run", "method", "metric"], sort=False):
        pairs = stats.seed_means(mine, ["uid", "image_id"]).dropna(subset="value")
        finite = pairs if np.isfinite(pairs["value"]).all() else pairs.head(0)
        worth = design.design(finite["value"].to_list(), finite["image_id"].to_list(), LEVEL)
        parts = design.components(mine if len(finite) else mine.head(0))
        rows.append({
            "run": run, "method": method, "strength": shown[str(run), str(method)].strength, "metric": identity,
            "spec": at.metrics[str(identity)].spec, "pairs": len(pairs), "photos": pairs["image_id"].nunique(),
            "seeds": int(mine["seed"].nunique()), "correlation": worth.correlation,
            "effective": worth.effective if len(finite) else math.nan, "detectable": worth.detectable,
            "image": parts.image, "pair": parts.pair, "seed": parts.seed,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))
