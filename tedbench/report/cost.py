"""What an edit costs: seconds and memory, as the run measured them on its machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tedbench.report.table import Material

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "run", "method", "sweeps", "fit_seconds", "fit_seconds_most", "edit_seconds", "edit_seconds_most", "host_gib",
    "device_gib", "where",
)  # fmt: skip
GIB = 2**30


def table(material: Material) -> pd.DataFrame:
    """A row a run and method, with `COLUMNS`; nan where nothing was measured, as for images made elsewhere.

    `fit_seconds` is the median over the sweeps of one fit, `edit_seconds` that of one image: a sweep's seconds over its
    strengths. `host_gib` and `device_gib` are the most that any sweep held. `sweeps` are those with a time: not the
    failed ones.
    """
    import pandas as pd

    rows = []
    for (run, method), cells in material.cells.groupby(["run", "method"], sort=False):
        timed = cells.dropna(subset="edit_seconds")
        sweeps = timed.groupby(["uid", "seed"], dropna=False, sort=False)
        first = sweeps[["fit_seconds", "edit_seconds", "host_bytes", "device_bytes"]].first()
        edit = first["edit_seconds"] / sweeps.size()
        rows.append({
            "run": run, "method": method, "sweeps": len(first), "fit_seconds": first["fit_seconds"].median(),
            "fit_seconds_most": first["fit_seconds"].max(), "edit_seconds": edit.median(),
            "edit_seconds_most": edit.max(), "host_gib": first["host_bytes"].max() / GIB,
            "device_gib": first["device_bytes"].max() / GIB, "where": _where(material, str(run), str(method)),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _where(material: Material, run: str, method: str) -> str:
    """Device, type of numbers, processor and threads."""
    made = material.runs[run]
    how: dict[str, Any] = dict(made.execution.get(method, {}))
    named = [str(one) for key in ("device", "dtype") for one in how.get(key, ())]
    threads = [f"{one} thread{'s' * (one != 1)}" for one in how.get("threads", ())]
    return ", ".join(dict.fromkeys([*named, *filter(None, [str(made.hardware.get("cpu", ""))]), *threads]))
