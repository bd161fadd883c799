"""The demonstration: methods run live on the toy world, scored and reported; or the authors' results, where named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tedbench import config, datasets, importing, report, scoring, store
from tedbench.datasets.tedbench import RESULTS
from tedbench.datasets.toybench import NAME as TOY
from tedbench.errors import DataError, StoreError, UsageError
from tedbench.running import runner

MOST = 1000
METHODS = (
    "identity",
    "autoencoder",
    "text-only@toy",
    "crossfade@toy",
    "sdedit@toy",
    "ddib@toy",
    "imagic@toy",
)
STRENGTHS = {"ddib": tuple(1 + i / 2 for i in range(11))}
"""Eleven, as the others have of themselves."""
METRICS = (
    "lpips-alex@64",
    "clip-text@toy-clip-b",
    "oracle-success",
    "oracle-preservation",
    "oracle-both",
    "oracle-refused",
)
RELEASED_METRICS = ("lpips-alex@256", "lpips-alex@512", "ssim@512", "psnr@512")
REFERENCE = Path("results/toy-reference")
"""The same methods over the whole test split, in the repository."""
COMMAND = ("tedbench", "demo")


def released(data: Path | None) -> Path | None:
    """The folder of TEdBench with its authors' results that was named, by --data or TEDBENCH_DATA; None for none.

    Raises:
        DataError: if what is named is not TEdBench as released, with results.
    """
    named = data or (Path(os.environ["TEDBENCH_DATA"]) if os.environ.get("TEDBENCH_DATA") else None)
    if named is not None and not (named / RESULTS).is_dir():
        raise DataError(f"{named} has no {RESULTS}/ with results to score; get them by `tedbench data fetch --results`")
    return named


def show_toy(pairs: int, out: Path, report_out: Path, reference: Path | None = None) -> scoring.Scored:
    """Run every method on the first questions of ToyBench, score and report; an earlier demonstration is replaced.

    Where a scored reference run is given, the report has its numbers in a section of its own.

    Raises:
        UsageError: for a number of pairs outside 1 to 1000.
        StoreError: if something that no demo made stands at `out`, or no report at `report_out`.
    """
    if not 1 <= pairs <= MOST:
        raise UsageError(f"--pairs {pairs}: between 1 and {MOST}")
    report.check_place(report_out)
    clear(out)
    named = {spec: spec.partition("@")[0] for spec in METHODS}
    methods = [config.MethodConfig(spec, label=name, strengths=STRENGTHS.get(name)) for spec, name in named.items()]
    asked = config.override(config.RunConfig(tuple(methods), dataset=f"{TOY}:{pairs}"), config.Flags(device="cpu"))
    runner.run(asked, out, COMMAND)
    scored = scoring.score_run(store.open_run(out), runner.load(asked), scoring.make_metrics(METRICS))
    report.write_report([out], report_out, reference)
    return scored


def show_released(folder: Path, out: Path, report_out: Path) -> tuple[importing.Imported, scoring.Scored]:
    """Import, score and report the results that TEdBench's authors released; an earlier demonstration is replaced.

    Raises:
        DataError: if the folder is not TEdBench as released.
        StoreError: if something that no demo made stands at `out`, or no report at `report_out`.
    """
    report.check_place(report_out)
    dataset = datasets.load("tedbench", folder)
    clear(out)
    source = importing.Source(folder / RESULTS, "imagic-published")
    imported = importing.import_folder(source, dataset, out, COMMAND)
    scored = scoring.score_run(store.open_run(out), dataset, scoring.make_metrics(RELEASED_METRICS))
    report.write_report([out], report_out)
    return imported, scored


def is_scored(run: Path) -> bool:
    """Whether a run stands there that a report can be made of."""
    from tedbench.report import table

    try:
        return bool(table.gather([run]).metrics)
    except StoreError:
        return False


def clear(folder: Path) -> None:
    """Remove the run that an earlier demo left at a place.

    Raises:
        StoreError: if something else stands there; it is not touched.
    """
    if not folder.exists():
        return
    made_by_demo = (folder / "run.json").is_file() and store.open_run(folder).run.command[:2] == COMMAND
    strange = sorted(path.name for path in folder.iterdir() if path.name not in store.FILES) if folder.is_dir() else []
    if not made_by_demo or strange:
        raise StoreError(f"{folder} is not what an earlier demo left; move it away or choose another --out")
    shutil.rmtree(folder)
