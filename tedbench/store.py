"""results/RUN/…: what a run wrote, and how it is read back.

A run is a folder:

    run.json        configuration, versions, hardware, data set, git commit      (types.Run)
    pairs.jsonl     one question a line, with the hash of its photo
    cells.jsonl     one row a cell: an image, or the reason why there is none    (types.Cell)
    images/METHOD/  the images as PNG
    sweeps/METHOD/  what each fit and sweep of `tedbench run` had to say: its cells, facts, traceback
    scores.parquet  long form: uid, image_id, category, method, seed, strength, metric, value
    metrics.json    what each metric identity in scores.parquet means            (types.MetricFacts)
    fits/           what methods learned of each pair, where `--keep-fits` asked for it; of use here alone
    answers/        what a judge answered about each image, a file a metric      (answers.Answers)

Files appear whole or not at all: each is written beside its place and moved there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench import images
from tedbench.disk import as_json, as_json_lines, explained, locked, read_json, read_lines, write_atomic, write_json
from tedbench.disk import new_folder as new_folder
from tedbench.errors import StoreError, short
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

if TYPE_CHECKING:
    import pandas as pd

FITS = "fits"
SCORE_COLUMNS = ("uid", "image_id", "category", "method", "seed", "strength", "metric", "value")
FILES = (
    "run.json", "pairs.jsonl", "cells.jsonl", "images", "sweeps", "events.jsonl", "scores.parquet", "metrics.json",
    "answers", FITS,
)  # fmt: skip
WRITTEN = ("run.json", "pairs.jsonl", "cells.jsonl")
"""Files of `write_run`."""
INCOMPLETE = "incomplete"
"""Stands for the digest of the cells where an image could not be read: scoring tries again, a report shows the gap."""
_KEY = ["uid", "method", "seed", "strength", "metric"]


@dataclass(frozen=True)
class RunFolder:
    """A run on disk, opened for reading."""

    path: Path

    @cached_property
    def run(self) -> Run:
        """The configuration and provenance in run.json."""
        raw = read_json(self.path / "run.json")
        try:
            return Run(**{**raw, "dataset": DatasetInfo(**raw["dataset"]), "command": tuple(raw["command"])})
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self.path}/run.json is not one of ours ({short(error)}); import again") from error

    @cached_property
    def metrics(self) -> dict[str, MetricFacts]:
        """Facts of every metric scored so far, by identity."""
        path = self.path / "metrics.json"
        raw = read_json(path) if path.exists() else {}
        try:
            return {
                k: MetricFacts(
                    **{
                        **v,
                        "notes": tuple(v["notes"]),
                        "unscored": dict(v.get("unscored", {})),
                        "needs": tuple(v.get("needs", ())),
                    }
                )
                for k, v in raw.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{path} is not one of ours ({short(error)}); delete it and score again") from error

    def cell_list(self) -> list[Cell]:
        """All cells, in the order of the data set."""
        try:
            return [Cell(**row) for row in read_lines(self.path / "cells.jsonl")]
        except TypeError as error:
            raise StoreError(f"{self.path}/cells.jsonl is not one of ours ({short(error)})") from error

    def cells(self) -> pd.DataFrame:
        """All cells, a column for each field of `types.Cell`."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(Cell)]
        frame = pd.DataFrame([vars(cell) for cell in self.cell_list()], columns=names)
        floats = ("strength", "fit_seconds", "edit_seconds", "host_bytes", "device_bytes")
        return frame.astype({"seed": "Int64", **dict.fromkeys(floats, "float64")})

    def pairs(self) -> pd.DataFrame:
        """The questions: uid, image_id, category, img_name, texts, and sha256 of photo, mask and truth."""
        import pandas as pd

        columns = ["uid", "image_id", "category", "img_name", "target_text", "source_text", "sha256"]
        columns += ["mask_sha256", "truth_sha256"]
        return pd.DataFrame(read_lines(self.path / "pairs.jsonl"), columns=columns)

    def scores(self) -> pd.DataFrame:
        """Scores in long form, NaN where a cell has no image or no score; empty before the first scoring."""
        return read_scores(self.path)

    def scored(self) -> set[str]:
        """Identities of the metrics whose scores are on disk and cover every cell as it is now."""
        counts = self.scores()["metric"].value_counts()
        cells = self.cell_list()
        known = {name for name, facts in self.metrics.items() if facts.cells in ("", cells_digest(cells))}
        return {str(identity) for identity, n in counts.items() if n == len(cells) and identity in known}

    def stale(self) -> list[MetricFacts]:
        """Metrics whose scores are of other images than are there now; an image that could not be read is not one."""
        now = ("", INCOMPLETE, cells_digest(self.cell_list()))
        return [facts for facts in self.metrics.values() if facts.cells not in now]

    def facts(self, cell: Cell) -> dict[str, Any]:
        """What the fit and the sweep of a cell had to say; empty for an image made elsewhere.

        Raises:
            StoreError: if it is gone.
        """
        if not cell.facts:
            return {}
        facts: dict[str, Any] = read_json(self.path / cell.facts).get("facts", {})
        return facts

    def image_bytes(self, cell: Cell) -> bytes:
        """The PNG of a cell.

        Raises:
            ImageError: if it is gone, or is not what the run wrote.
        """
        return images.read_bytes(ImageFile(cell.file, cell.sha256, path=self.path / cell.file))


def open_run(folder: Path) -> RunFolder:
    """Open a run for reading.

    Raises:
        StoreError: if the folder is no run.
    """
    if not (folder / "run.json").is_file():
        what = "has no run.json" if folder.is_dir() else "does not exist"
        how = f"make a run with `tedbench run --out {folder}`, or `tedbench import` images made elsewhere"
        raise StoreError(f"{folder} {what}; {how}")
    opened = RunFolder(folder)
    opened.run  # noqa: B018  (a broken run.json is reported here, not halfway through)
    return opened


def read_scores(folder: str | Path) -> pd.DataFrame:
    """The scores of a run as a DataFrame: SCORE_COLUMNS, `seed` Int64, `strength` and `value` float64."""
    import pandas as pd

    path = Path(folder) / "scores.parquet"
    if not path.exists():
        return _score_frame([])
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({short(error)}); delete it and score again") from error
    if list(frame.columns) != list(SCORE_COLUMNS):
        raise StoreError(f"{path} has other columns than {', '.join(SCORE_COLUMNS)}; delete it and score again")
    return frame


def write_run(folder: Path, run: Run, pairs: Iterable[EditPair], cells: Iterable[Cell]) -> None:
    """Write everything of a run but images and scores."""
    write_json(folder / "run.json", dataclasses.asdict(run))
    write_atomic(folder / "pairs.jsonl", as_json_lines(_pair_row(pair) for pair in pairs))
    write_cells(folder, cells)


def write_cells(folder: Path, cells: Iterable[Cell]) -> None:
    """Write the rows of a run's cells."""
    write_atomic(folder / "cells.jsonl", as_json_lines(vars(cell) for cell in cells))


def cells_digest(cells: Iterable[Cell]) -> str:
    """Hex sha256 of which cells there are and which image each has."""
    rows = [[cell.uid, cell.method, cell.seed, cell.strength, cell.status, cell.sha256] for cell in cells]
    return images.sha256(json.dumps(rows).encode())


def write_scores(run: RunFolder, rows: Iterable[Mapping[str, Any]], facts: Mapping[str, MetricFacts]) -> None:
    """Add scores to a run; rows of the same metric identity are replaced, all others stay.

    Two processes that score one run take turns, and neither loses what the other wrote.
    """
    with explained(run.path), locked(run.path):
        _merge_scores(open_run(run.path), _score_frame(rows), facts)


def _merge_scores(run: RunFolder, new: pd.DataFrame, facts: Mapping[str, MetricFacts]) -> None:
    import io

    import pandas as pd

    old = run.scores()
    old = old[~old["metric"].isin(set(facts))]
    merged = pd.concat([old, new], ignore_index=True) if len(old) else new
    if merged.duplicated(_KEY).any():
        raise StoreError(f"{run.path}: two scores for one cell and metric; cells.jsonl holds a cell twice")
    buffer = io.BytesIO()
    merged.to_parquet(buffer, index=False)
    # Facts first: scores without facts could not be read; facts without scores count for nothing (see `scored`).
    known = {**run.metrics, **facts}
    write_atomic(run.path / "metrics.json", as_json({k: dataclasses.asdict(v) for k, v in known.items()}))
    write_atomic(run.path / "scores.parquet", buffer.getvalue())


def _score_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(list(rows), columns=list(SCORE_COLUMNS))
    text = dict.fromkeys(("uid", "image_id", "category", "method", "metric"), "string")
    return frame.astype({**text, "seed": "Int64", "strength": "float64", "value": "float64"})


def _pair_row(pair: EditPair) -> dict[str, Any]:
    return {
        "uid": pair.uid,
        "image_id": pair.image_id,
        "category": pair.category,
        "img_name": pair.image.name,
        "target_text": pair.target_text,
        "source_text": pair.source_text,
        "sha256": pair.image.sha256,
        "mask_sha256": pair.mask.sha256 if pair.mask else None,
        "truth_sha256": pair.truth.sha256 if pair.truth else None,
    }
