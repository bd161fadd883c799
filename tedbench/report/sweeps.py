"""From runs to curves: as rows for curves.csv, and as lines for the figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from tedbench import curves as curves_of
from tedbench.curves import Curve, curves
from tedbench.report.curveplot import Line
from tedbench.report.shown import Key, knob
from tedbench.report.table import LEVEL, Material
from tedbench.report.text import clean

if TYPE_CHECKING:
    import pandas as pd

By = Literal["category", "seed", "uid"]
"""What curves can be split by."""
COLUMNS = (
    "run", "method", "metric", "identity", "symbol", "strength", "mean", "low", "high", "pairs", "asked", "failed",
)  # fmt: skip


def labels(material: Material) -> dict[Key, str]:
    """What each run and method is called: with the run only where there are several."""
    keys = material.cells[["run", "method"]].drop_duplicates().itertuples(index=False)
    many = len(material.runs) > 1
    return {(str(run), str(method)): clean(f"{run} · {method}" if many else method) for run, method in keys}


def measured(material: Material) -> tuple[Curve, ...]:
    """The curve of every run, method and metric."""
    return curves(material.scores, LEVEL, _binary(material))


def split(material: Material, by: By) -> dict[str, tuple[Curve, ...]]:
    """The same for each category, seed or pair on its own."""
    return curves_of.split(material.scores, by, LEVEL, _binary(material))


def frame(material: Material, found: Sequence[Curve]) -> pd.DataFrame:
    """A row for each point, with `COLUMNS`; `metric` is what was typed, `identity` what it means."""
    import pandas as pd

    rows = [
        {"run": one.run, "method": one.method, "metric": material.metrics[one.metric].spec, "identity": one.metric,
         "symbol": knob(material, one.run, one.method).get("symbol", ""), **dataclasses.asdict(point)}
        for one in found for point in one.points
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def split_frame(material: Material, found: Mapping[str, Sequence[Curve]], by: By) -> pd.DataFrame:
    """As `frame`, with what the curves are split by first."""
    import pandas as pd

    frames = [frame(material, mine).assign(**{by: name}) for name, mine in found.items()]
    whole = pd.concat(frames, ignore_index=True) if frames else frame(material, ()).assign(**{by: ""})
    return whole[[by, *COLUMNS]]


def _binary(material: Material) -> set[str]:
    return {name for name, facts in material.metrics.items() if facts.binary}


def lines(material: Material, found: Sequence[Curve], named: Mapping[Key, str]) -> list[Line]:
    """A line for each run and method; none where no method was swept."""
    made = [
        Line(
            label, str(knob(material, *key).get("symbol", "")), {c.metric: c for c in found if (c.run, c.method) == key}
        )
        for key, label in named.items()
    ]
    return made if any(line.swept for line in made) else []
