"""Stored images × metrics → scores. No method is loaded, and no image is judged that changed since it was stored."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from tqdm import tqdm

from tedbench import images, registry, store
from tedbench.errors import ImageError, MetricError, MetricNote, StoreError, TedbenchError, UsageError, short
from tedbench.store import RunFolder
from tedbench.types import Cell, Dataset, EditPair, Metric, MetricFacts

CHUNK = 32
"""Images scored together. Cells are sorted by photo, so that its features are computed once a chunk."""


@dataclass(frozen=True)
class Scored:
    """What a scoring did."""

    scored: int
    failed: tuple[str, ...]
    """One line for each stored image that could not be scored."""
    facts: tuple[MetricFacts, ...]
    skipped: tuple[str, ...]
    """Specs whose scores were there already."""


def make_metrics(specs: Sequence[str], device: str = "auto") -> list[tuple[str, Metric]]:
    """Build metrics from their specs.

    Raises:
        UnknownName, UsageError, PluginError, MetricError: as the spec is at fault.
    """
    made: dict[str, tuple[str, Metric]] = {}
    for spec in specs:
        metric = registry.make("metric", spec, device=device)
        if not isinstance(metric, Metric):
            raise UsageError(f"{spec!r} is not a metric: it lacks score, identity, needs, facts or a class fact")
        made.setdefault(metric.identity, (spec, metric))
    return list(made.values())


@dataclass(frozen=True)
class _Job:
    """A metric to compute, and the identity its numbers are stored under."""

    spec: str
    metric: Metric
    identity: str


def score_run(run: RunFolder, dataset: Dataset, metrics: Sequence[tuple[str, Metric]], again: bool = False) -> Scored:
    """Score every stored image of a run and write scores.parquet.

    Args:
        run: an opened run.
        dataset: the questions, with their photos; must be the run's.
        metrics: (spec, metric) as `make_metrics` gives them.
        again: score also what has been scored.

    Raises:
        StoreError: if the data set is not the one the run was made with, or the scores cannot be written.
        MetricError: if a metric needs what no pair of the data set has, or breaks its contract.
    """
    pairs = _matching_pairs(run, dataset)
    captions = dataset.info.captions or run.run.dataset.captions
    jobs = [_Job(spec, metric, _identity(metric, captions)) for spec, metric in metrics]
    todo = [job for job in jobs if again or job.identity not in run.metrics]
    for job in todo:
        _check_needs(job.spec, job.metric, list(pairs.values()))
    cells = run.cell_list()
    by_photo = sorted((cell for cell in cells if cell.status == "ok"), key=lambda c: (c.image_id, c.uid))
    rows = [_row(cell, job, math.nan) for cell in cells if cell.status != "ok" for job in todo]
    tally = _Tally()
    bar = tqdm(total=len(by_photo), desc="score", unit="image", disable=None if todo else True)
    for chunk, decoded in _decoded_ahead(run, by_photo) if todo else ():
        rows += _score_chunk(chunk, decoded, pairs, todo, tally)
        bar.update(len(chunk))
    bar.close()
    facts = {job.identity: _facts(job, tally) for job in todo}
    if todo:
        store.write_scores(run, rows, facts)
    skipped = tuple(job.spec for job in jobs if job not in todo)
    return Scored(len(by_photo), tuple(tally.failed), tuple(facts.values()), skipped)


class _Tally:
    """What is counted while chunks go by."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.notes: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}


def _score_chunk(
    cells: Sequence[Cell],
    decoded: Sequence[Image | ImageError],
    pairs: dict[str, EditPair],
    jobs: Sequence[_Job],
    tally: _Tally,
) -> list[dict[str, Any]]:
    good = [(cell, image) for cell, image in zip(cells, decoded, strict=True) if isinstance(image, Image)]
    bad = [(cell, error) for cell, error in zip(cells, decoded, strict=True) if isinstance(error, ImageError)]
    tally.failed += [f"{cell.uid}: {short(error)}" for cell, error in bad]
    rows = [_row(cell, job, math.nan) for cell, _ in bad for job in jobs]
    for job in jobs:
        able = [(c, i) for c, i in good if all(getattr(pairs[c.uid], need) is not None for need in job.metric.needs)]
        values = _score_checked(job.spec, job.metric, [pairs[c.uid] for c, _ in able], [i for _, i in able], tally)
        scored = {id(cell): value for (cell, _), value in zip(able, values, strict=True)}
        rows += [_row(cell, job, scored.get(id(cell), math.nan)) for cell, _ in good]
    return rows


def _score_checked(
    spec: str, metric: Metric, pairs: list[EditPair], edits: list[Image], tally: _Tally
) -> Sequence[float]:
    if not pairs:
        return []
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MetricNote)
        try:
            values = [float(value) for value in metric.score(pairs, edits)]
        except TedbenchError:
            raise
        except Exception as error:  # a stranger's metric can raise anything
            raise MetricError(f"metric {spec!r} failed: {short(error)}; --debug shows where") from error
    for note in caught:
        if issubclass(note.category, MetricNote):
            tally.notes.setdefault(spec, []).append(str(note.message))
        else:
            warnings.warn_explicit(note.message, note.category, note.filename, note.lineno)
    if len(values) != len(edits):
        raise MetricError(f"metric {spec!r} gave {len(values)} values for {len(edits)} images; it must give one each")
    low, high = metric.range
    outside = [value for value in values if not low - 1e-6 <= value <= high + 1e-6]  # NaN compares false: caught too
    if outside:
        raise MetricError(f"metric {spec!r} gave {outside[0]}, outside its range [{low}, {high}]; no score was written")
    tally.seconds[spec] = tally.seconds.get(spec, 0.0) + time.perf_counter() - started
    return values


def _decoded_ahead(run: RunFolder, cells: Sequence[Cell]) -> Iterator[tuple[Sequence[Cell], list[Image | ImageError]]]:
    # Decoding a 1024² PNG takes as long as scoring it: the next chunk is decoded while this one is scored. One thread:
    # a second one competes with torch's own for two cores (tests/benchmarks/score_throughput.py --workers 2).
    def decode(cell: Cell) -> Image | ImageError:
        try:
            return images.decode(run.image_bytes(cell), cell.file)
        except ImageError as error:
            return error

    chunks = [cells[i : i + CHUNK] for i in range(0, len(cells), CHUNK)]
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        submitted = ([pool.submit(decode, cell) for cell in chunk] for chunk in chunks)
        ahead = list(itertools.islice(submitted, 1))
        for chunk in chunks:
            ahead += itertools.islice(submitted, 1)
            yield chunk, [future.result() for future in ahead.pop(0)]


def _matching_pairs(run: RunFolder, dataset: Dataset) -> dict[str, EditPair]:
    pairs = {pair.uid: pair for pair in dataset.pairs}
    asked = run.pairs()
    for uid, text, source, digest in asked[["uid", "target_text", "source_text", "sha256"]].itertuples(index=False):
        pair = pairs.get(uid)
        if pair is None or pair.image.sha256 != digest or pair.target_text != text:
            what = "lacks" if pair is None else "has another photo or text for"
            raise StoreError(
                f"the data set {what} pair {uid!r} of {run.path}; score with the data the run was made from (--data)"
            )
        if pair.source_text is None and isinstance(source, str):
            pairs[uid] = dataclasses.replace(pair, source_text=source)
    return pairs


def _identity(metric: Metric, captions: str) -> str:
    # Source captions are not the data set's own: who wrote them moves the number, so they are part of its name.
    added = f"/captions={captions.replace(' ', '-')}" if captions and "source_text" in metric.needs else ""
    return metric.identity + added


def _check_needs(spec: str, metric: Metric, pairs: Sequence[EditPair]) -> None:
    for need in sorted(metric.needs):
        if not any(getattr(pair, need, None) is not None for pair in pairs):
            hint = "; give source captions with --captions FILE" if need == "source_text" else ""
            raise MetricError(f"metric {spec!r} needs {need}, which no pair of this data set has{hint}")


def _facts(job: _Job, tally: _Tally) -> MetricFacts:
    spec, metric = job.spec, job.metric
    low, high = metric.range
    return MetricFacts(
        spec=spec,
        identity=job.identity,
        higher_is_better=metric.higher_is_better,
        low=low if math.isfinite(low) else -1e308,
        high=high if math.isfinite(high) else 1e308,
        facts=dict(metric.facts),
        notes=tuple(dict.fromkeys(tally.notes.get(spec, []))),
        versions=store.versions(),
        seconds=round(tally.seconds.get(spec, 0.0), 3),
    )


def _row(cell: Cell, job: _Job, value: float) -> dict[str, Any]:
    return {
        "uid": cell.uid,
        "image_id": cell.image_id,
        "category": cell.category,
        "method": cell.method,
        "seed": cell.seed,
        "strength": cell.strength,
        "metric": job.identity,
        "value": value,
    }
