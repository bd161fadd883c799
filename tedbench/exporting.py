"""A run as a data set of the `datasets` library: a row a cell, its image embedded, a column a metric.

Two forms: `disk`, for `datasets.load_from_disk`, and `parquet`, a folder with a card for `datasets.load_dataset` or the
hub. Both hold the encoded images themselves, so that they load wherever they are copied to.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import datasets, disk, licences
from tedbench.errors import ImageError, StoreError, UnknownName
from tedbench.licences import Decision
from tedbench.shortening import shortened
from tedbench.store import RunFolder
from tedbench.types import Cell, MetricFacts

FORMATS = ("disk", "parquet")
SPLIT = "test"
BATCH = 64
"""Rows held in memory at a time."""
SHARD = 500_000_000
"""Bytes after which another parquet file begins."""
TEXTS = ("uid", "image_id", "category", "target_text", "source_text", "method", "status", "error")
COLUMNS = (*TEXTS[:6], "seed", "strength", *TEXTS[6:], "image")


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    out: Path
    rows: int
    images: Decision
    metrics: dict[str, str]
    """Column → identity of its metric."""


def export(run: RunFolder, out: Path, form: str = "disk", images: bool | None = None) -> Exported:
    """Write a run as a data set, whole or not at all.

    Args:
        run: an opened run; a metric that has scored it is a column.
        out: the folder to make; it must not exist.
        form: one of `FORMATS`.
        images: whether images go in; None for what the data set's licence allows.

    Raises:
        UnknownName: for another form.
        StoreError: if `out` exists or cannot be written, scores are of other images than are there, or an image is not
            what the run wrote.
    """
    if form not in FORMATS:
        raise UnknownName("form of an export", form, FORMATS)
    for facts in run.stale():
        how = f"tedbench score {run.path} --metrics {facts.spec}"
        raise StoreError(f"{run.path}: {facts.spec} was scored on other images than are there now; score anew: {how}")
    licence = datasets.licence_of(run.run.dataset)
    told = _Told(run, columns_of(run), licences.decide(licence, images), licence)
    with disk.new_folder(out) as scratch:
        (_write_disk if form == "disk" else _write_parquet)(told, scratch)
    return Exported(out, len(run.cell_list()), told.images, {name: f.identity for name, f in told.metrics.items()})


def columns_of(run: RunFolder) -> dict[str, MetricFacts]:
    """Column → metric: what the user typed for it, or its identity where two were typed alike."""
    there = set(run.scores()["metric"])
    known = [facts for identity, facts in run.metrics.items() if identity in there]
    names = [shortened(facts.spec) for facts in known]
    count = Counter([*names, *COLUMNS])
    return {
        name if count[name] == 1 else shortened(facts.identity): facts for name, facts in zip(names, known, strict=True)
    }


@dataclass(frozen=True)
class _Told:
    """What the rows are made of."""

    run: RunFolder
    metrics: dict[str, MetricFacts]
    images: Decision
    licence: str

    def rows(self) -> Iterator[dict[str, Any]]:
        cells, values = self.run.cell_list(), self._values()
        pairs = {row["uid"]: row for row in self.run.pairs().astype(object).to_dict("records")}
        for cell in tqdm(cells, desc="export", unit="row", disable=None):
            pair, key = pairs[cell.uid], (cell.uid, cell.method, cell.seed, cell.strength)
            row: dict[str, Any] = {name: getattr(cell, name) for name in COLUMNS if hasattr(cell, name)}
            row["error"] = shortened(cell.error)
            row |= {name: _text(pair[name]) for name in ("target_text", "source_text")}
            row |= {name: values.get((facts.identity, *key)) for name, facts in self.metrics.items()}
            yield {**row, "image": self._image(cell)}

    def _values(self) -> dict[tuple[Any, ...], float | None]:
        names = ["metric", "uid", "method", "seed", "strength", "value"]
        table = self.run.scores()[names].astype(object)
        rows = table.where(table.notna(), None).itertuples(index=False, name=None)
        return {tuple(row[:-1]): row[-1] for row in rows}

    def _image(self, cell: Cell) -> dict[str, Any] | None:
        if cell.status != "ok" or not self.images.included:
            return None
        try:
            return {"bytes": self.run.image_bytes(cell), "path": Path(cell.file).name}
        except ImageError as error:
            raise StoreError(f"{error}; nothing was exported. --no-images leaves images out") from error

    def features(self) -> Any:
        import datasets as hf

        kinds: dict[str, Any] = {name: hf.Value("string") for name in COLUMNS}
        kinds |= {"seed": hf.Value("int64"), "strength": hf.Value("float64"), "image": hf.Image()}
        return hf.Features({**kinds, **{name: hf.Value("float64") for name in self.metrics}})

    def batches(self) -> Iterator[Any]:
        """Record batches of the rows, as `datasets` lays them out."""
        import pyarrow as pa

        schema, rows = self.features().arrow_schema, self.rows()
        while block := list(itertools.islice(rows, BATCH)):
            yield pa.RecordBatch.from_pylist(block, schema=schema)

    def description(self) -> str:
        """What the rows are, for people."""
        run = self.run.run
        lines = [
            f"Edited images and their scores: run `{run.name}` of TEdBench's suite, {run.created}.",
            f"Questions: {run.dataset.name} {run.dataset.revision} {run.dataset.part}".rstrip()
            + f", list of pairs {run.dataset.sha256}.",
            f"Images: {'in' if self.images.included else 'not in'}; {self.images.why}.",
            f"Methods: {', '.join(run.methods)}. Commit {run.git_commit or 'unknown'}.",
            "A row is an image, or the reason why there is none (`status`, `error`). Columns of scores:",
        ]
        scored = [f"- `{name}`: {facts.identity}, {_better(facts)}" for name, facts in self.metrics.items()]
        return shortened("\n".join([*lines, *(scored or ["- none: the run was not scored"])]))


def _write_disk(told: _Told, folder: Path) -> None:
    import datasets as hf
    import pyarrow as pa

    table = folder / ".rows" / "table.arrow"  # a folder of its own: `datasets` overwrites none that it reads from
    table.parent.mkdir()
    with pa.OSFile(str(table), "wb") as sink, pa.ipc.new_stream(sink, told.features().arrow_schema) as writer:
        for batch in told.batches():
            writer.write_batch(batch)
    info = hf.DatasetInfo(description=told.description(), license=told.licence, features=told.features())
    loud = not hf.are_progress_bars_disabled()
    hf.disable_progress_bars()  # its own bar is drawn into pipes too
    try:
        hf.Dataset.from_file(str(table), info=info, split=hf.Split(SPLIT)).save_to_disk(str(folder))
    finally:
        if loud:
            hf.enable_progress_bars()
    table.unlink()
    table.parent.rmdir()
    (folder / "README.md").write_text(_card(told, ""), encoding="utf-8")


def _write_parquet(told: _Told, folder: Path) -> None:
    import pyarrow.parquet as pq

    (folder / "data").mkdir()
    batches, schema = told.batches(), told.features().arrow_schema
    ahead = next(batches, None)
    for number in itertools.count():
        path, size = folder / "data" / f"{SPLIT}-{number:05d}.parquet", 0
        with pq.ParquetWriter(path, schema) as writer:
            while ahead is not None and size < SHARD:
                writer.write_batch(ahead)
                size, ahead = size + ahead.nbytes, next(batches, None)
        if ahead is None:
            break
    files = f"configs:\n- config_name: default\n  data_files:\n  - split: {SPLIT}\n    path: data/*.parquet\n"
    (folder / "README.md").write_text(_card(told, files), encoding="utf-8")


def _card(told: _Told, files: str) -> str:
    """The data set's card: what the hub reads, then what people read."""
    licence = json.dumps(told.licence.lower()) if told.licence else "unknown"
    name = json.dumps(told.run.run.name, ensure_ascii=False)
    return f"---\npretty_name: {name}\nlicense: {licence}\n{files}---\n\n{told.description()}\n"


def _better(facts: MetricFacts) -> str:
    return f"{'higher' if facts.higher_is_better else 'lower'} is better, {facts.ends[0]} to {facts.ends[1]}"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
