"""The demonstration: import, score and report on the best data at hand."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tedbench import datasets, importing, report, scoring, store
from tedbench.datasets import drawn
from tedbench.datasets.tedbench import RESULTS
from tedbench.errors import DataError, StoreError
from tedbench.types import Dataset

METRICS = ("lpips-alex@256", "lpips-alex@512", "ssim@512", "psnr@512")
DRAWN = ".drawn-by-tedbench-demo"
"""Marks a folder of pictures that a demo may remove."""
NEAR = Path("..", "shared", "data", "tedbench")
"""Where a checkout's neighbour may hold the real benchmark."""


@dataclass(frozen=True)
class Material:
    """What a demonstration works on."""

    what: str
    dataset: Dataset
    edits: Path
    method: str


def find_material(data: Path | None, scratch: Path) -> Material:
    """The real benchmark if it is at hand, else a dozen drawn pictures.

    Args:
        data: TEdBench as released; None looks at TEDBENCH_DATA and beside the checkout.
        scratch: folder to draw into.

    Raises:
        DataError: if a folder is named and is not TEdBench as released, with results.
    """
    folder = _released(data)
    if folder is not None:
        what = f"the Imagic results that TEdBench's authors released, in {folder}"
        return Material(what, datasets.load("tedbench", folder), folder / RESULTS, "imagic-published")
    clear(scratch, DRAWN)
    (scratch / DRAWN).parent.mkdir(parents=True)
    (scratch / DRAWN).touch()
    drawn_data, edits = drawn.write(scratch)
    what = "a dozen pictures drawn by the code, since TEdBench is not at hand (set TEDBENCH_DATA to use it)"
    return Material(what, datasets.load("folder", drawn_data), edits, "drawn-edits")


def _released(data: Path | None) -> Path | None:
    named = data or (Path(os.environ["TEDBENCH_DATA"]) if os.environ.get("TEDBENCH_DATA") else None)
    if named is None:
        near = (NEAR, datasets.default_folder("tedbench"))
        return next((folder for folder in near if (folder / RESULTS).is_dir()), None)
    if named.is_dir() and not (named / RESULTS).is_dir():
        raise DataError(f"{named} has no {RESULTS}/ with results to score; get them by `tedbench data fetch --results`")
    return named


def clear(folder: Path, marker: str) -> None:
    """Remove what an earlier demo left at a place.

    Raises:
        StoreError: if something else stands there; it is not touched.
    """
    if not folder.exists():
        return
    made_by_demo = (folder / marker).is_file() and (
        marker == DRAWN or store.open_run(folder).run.command[:2] == ("tedbench", "demo")
    )
    known = {marker, "data", "edits"} if marker == DRAWN else store.FILES
    strange = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    if not made_by_demo or strange:
        raise StoreError(f"{folder} is not what an earlier demo left; move it away or choose another --out")
    shutil.rmtree(folder)


def run_demo(material: Material, out: Path, report_out: Path) -> tuple[importing.Imported, scoring.Scored, list[Path]]:
    """Import, score, report; an earlier demonstration in the same place is replaced.

    Raises:
        StoreError: if something that no demo made stands at `out`.
    """
    clear(out, "run.json")
    source = importing.Source(material.edits, material.method)
    imported = importing.import_folder(source, material.dataset, out, ("tedbench", "demo"))
    scored = scoring.score_run(store.open_run(out), material.dataset, scoring.make_metrics(METRICS))
    return imported, scored, report.write_report([out], report_out)
