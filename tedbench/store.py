"""results/RUN/…: what a run wrote, and how it is read back.

A run is a folder:

    run.json        configuration, versions, hardware, data set, git commit      (types.Run)
    pairs.jsonl     one question a line, with the hash of its photo
    cells.jsonl     one row a cell: an image, or the reason why there is none    (types.Cell)
    images/METHOD/  the images as PNG
    scores.parquet  long form: uid, image_id, category, method, seed, strength, metric, value
    metrics.json    what each metric identity in scores.parquet means            (types.MetricFacts)

Files appear whole or not at all: each is written beside its place and moved there.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench import images
from tedbench.errors import StoreError, short
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

if TYPE_CHECKING:
    import pandas as pd

SCORE_COLUMNS = ("uid", "image_id", "category", "method", "seed", "strength", "metric", "value")
FILES = ("run.json", "pairs.jsonl", "cells.jsonl", "images", "scores.parquet", "metrics.json")
_KEY = ["uid", "method", "seed", "strength", "metric"]


@dataclass(frozen=True)
class RunFolder:
    """A run on disk, opened for reading."""

    path: Path

    @cached_property
    def run(self) -> Run:
        """The configuration and provenance in run.json."""
        raw = _read_json(self.path / "run.json")
        try:
            return Run(**{**raw, "dataset": DatasetInfo(**raw["dataset"]), "command": tuple(raw["command"])})
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self.path}/run.json is not one of ours ({short(error)}); import again") from error

    @cached_property
    def metrics(self) -> dict[str, MetricFacts]:
        """Facts of every metric scored so far, by identity."""
        path = self.path / "metrics.json"
        raw = _read_json(path) if path.exists() else {}
        try:
            return {
                k: MetricFacts(**{**v, "notes": tuple(v["notes"]), "unscored": dict(v.get("unscored", {}))})
                for k, v in raw.items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{path} is not one of ours ({short(error)}); delete it and score again") from error

    def cell_list(self) -> list[Cell]:
        """All cells, in the order of the data set."""
        try:
            return [Cell(**row) for row in _read_lines(self.path / "cells.jsonl")]
        except TypeError as error:
            raise StoreError(f"{self.path}/cells.jsonl is not one of ours ({short(error)})") from error

    def cells(self) -> pd.DataFrame:
        """All cells, a column for each field of `types.Cell`."""
        import pandas as pd

        names = [field.name for field in dataclasses.fields(Cell)]
        frame = pd.DataFrame([dataclasses.asdict(cell) for cell in self.cell_list()], columns=names)
        return frame.astype({"seed": "Int64", **dict.fromkeys(("strength", "fit_seconds", "edit_seconds"), "float64")})

    def pairs(self) -> pd.DataFrame:
        """The questions: uid, image_id, category, img_name, texts, and sha256 of photo, mask and truth."""
        import pandas as pd

        columns = ["uid", "image_id", "category", "img_name", "target_text", "source_text", "sha256"]
        columns += ["mask_sha256", "truth_sha256"]
        return pd.DataFrame(_read_lines(self.path / "pairs.jsonl"), columns=columns)

    def scores(self) -> pd.DataFrame:
        """Scores in long form, NaN where a cell has no image or no score; empty before the first scoring."""
        return read_scores(self.path)

    def scored(self) -> set[str]:
        """Identities of the metrics whose scores are on disk and cover every cell."""
        counts = self.scores()["metric"].value_counts()
        cells = len(self.cell_list())
        return {str(identity) for identity, n in counts.items() if n == cells and identity in self.metrics}

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
        raise StoreError(f"{folder} {what}; make a run with `tedbench import FOLDER --out {folder}`")
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


@contextmanager
def new_folder(out: Path, replace: bool = False) -> Iterator[Path]:
    """A scratch folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    Args:
        out: where the folder is to be.
        replace: whether a folder already there is exchanged; otherwise it is an error.

    Raises:
        StoreError: if `out` exists, or the disk is full or read-only.
    """
    if out.exists() and not replace:
        raise StoreError(f"{out} exists already; choose another --out, or delete it first")
    out = out.absolute()
    if out == Path.cwd() or out in Path.cwd().parents:
        raise StoreError(f"{out} is the folder you are in; choose another one to write to")
    with explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        with explained(out):
            yield scratch
            scratch.chmod(0o755)
            if out.exists():  # the old one steps aside first, so that at no moment both are gone
                out.replace(aside := scratch.with_suffix(".old"))
                scratch.replace(out)
                shutil.rmtree(aside)
            else:
                scratch.replace(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk says into one clear line."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); nothing was kept there") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and durably.

    Raises:
        StoreError: if the disk is full or read-only; a file that was there stays as it was.
    """
    with explained(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def write_run(folder: Path, run: Run, pairs: Iterable[EditPair], cells: Iterable[Cell]) -> None:
    """Write everything of a run but images and scores."""
    write_atomic(folder / "run.json", _json(dataclasses.asdict(run)))
    write_atomic(folder / "pairs.jsonl", _json_lines(_pair_row(pair) for pair in pairs))
    write_atomic(folder / "cells.jsonl", _json_lines(dataclasses.asdict(cell) for cell in cells))


def write_scores(run: RunFolder, rows: Iterable[Mapping[str, Any]], facts: Mapping[str, MetricFacts]) -> None:
    """Add scores to a run; rows of the same metric identity are replaced, all others stay.

    Two processes that score one run take turns, and neither loses what the other wrote.
    """
    with explained(run.path), _locked(run.path):
        _merge_scores(open_run(run.path), _score_frame(rows), facts)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # The lock is on the folder itself: no file to leave behind, and the kernel drops it with a dead process.
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


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
    write_atomic(run.path / "metrics.json", _json({k: dataclasses.asdict(v) for k, v in known.items()}))
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


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({short(error)})") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} does not hold a JSON object")
    return value


def _read_lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({short(error)})") from error
