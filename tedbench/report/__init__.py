"""Reports: derived from runs, so deleting one loses nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tedbench import store
from tedbench.errors import StoreError

if TYPE_CHECKING:
    from tedbench.report.compared import Asked

MARKER = "report.json"


def write_report(
    runs: Sequence[Path],
    out: Path,
    reference: Path | None = None,
    rules: Sequence[str] = (),
    asked: Asked | None = None,
) -> list[Path]:
    """Write index.html, report.md, the tables as CSV and LaTeX, the figures as PNG, SVG and PDF, and report.json.

    What has nothing to show is not written: curves where no method has more than one strength, `gallery.png` where the
    images are not there, `rules.csv` where no rule is named, `differences` of one method. `reference` are the curves of
    a reference run.

    The folder appears whole: it is made beside `out` and moved there, over an earlier report.

    Args:
        runs: scored run folders over one data set.
        out: the report's folder.
        reference: a scored run over other questions; its table and curves get a section of their own.
        rules: specs of rules that choose a strength, as `tedbench list` names them; a table of what each is worth.
        asked: which comparison is primary; by default what follows from the runs.

    Returns:
        Paths of the files, in `out`.

    Raises:
        StoreError: if a run is not scored, or `out` exists and is no report, or cannot be written.
        UsageError: if the runs are over different data sets, or a rule or comparison asks for what was not scored.
        UnknownName, PluginError: as a rule is at fault.
    """
    from tqdm import tqdm

    from tedbench.report import building, render, table

    check_place(out)
    material = table.gather(runs)
    with tqdm(total=len(building.SLOW) + 2, desc="report", unit="part", disable=None) as bar:
        built = building.build(material, rules, asked)
        bar.update()
        for part in building.SLOW:
            getattr(built, part)
            bar.update()
        files = render.files(built, building.build(table.gather([reference])) if reference else None)
        bar.update()
    made_from = {"format": 1, "runs": list(material.runs), "dataset": material.dataset.sha256, "files": [*files]}
    files[MARKER] = (json.dumps(made_from, indent=2, ensure_ascii=False) + "\n").encode()
    check_place(out)
    with store.new_folder(out, replace=True) as scratch:
        for name, content in files.items():
            (scratch / name).write_bytes(content)
    return [out / name for name in files]


def terminal_table(runs: Sequence[Path]) -> str:
    """The table of some runs as plain text, with published values beside ours.

    Raises:
        StoreError, UsageError: as `write_report`.
    """
    from tedbench.report import building, plain, table

    return plain.terminal_table(building.build(table.gather(runs)))


def check_place(out: Path, marker: str = MARKER) -> None:
    """Refuse to replace what is no report: a mistyped --out must not cost a folder.

    Args:
        out: where one is to be.
        marker: name of the JSON file that marks one, and lists its `files`.

    Raises:
        StoreError: if something else is at `out`.
    """
    if not out.exists() and not out.is_symlink():
        return
    if out.is_symlink() or not out.is_dir() or not ((out / marker).is_file() or not any(out.iterdir())):
        what = f"exists and is no report of ours (it holds no {marker})"
        raise StoreError(f"{out} {what}; choose another --out, or remove it")
    foreign = sorted(path.name for path in out.iterdir() if path.name not in _names(out / marker))
    if foreign:
        raise StoreError(f"{out} holds {foreign[0]!r}, which no report wrote; move it away, or choose another --out")


def _names(marker: Path) -> set[str]:
    """Names of the files that a report says are its own."""
    if not marker.is_file():
        return set()
    try:
        return {marker.name, *json.loads(marker.read_text(encoding="utf-8"))["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{marker} cannot be read; remove {marker.parent}, or choose another --out") from error
