"""Stored images × metrics → scores. No method is loaded, and no image is judged that changed since it was stored."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from tqdm import tqdm

from tedbench import environment, images, registry, store
from tedbench.answers import Answers
from tedbench.errors import ImageError, MetricError, StoreError, TedbenchError, UsageError, short
from tedbench.measuring import Item, Job, Tally, asks, caught, checked
from tedbench.store import RunFolder
from tedbench.types import Cell, Dataset, EditPair, Metric, MetricFacts

CONTRACT = ("higher_is_better", "range", "identity", "needs", "facts", "score")
"""What the class of a metric has, see `types.Metric`."""
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
        lacks = [name for name in CONTRACT if not hasattr(type(metric), name)]  # on the class: nothing is computed
        if lacks:
            raise UsageError(f"{spec!r} is not a metric: its class lacks {', '.join(lacks)}; see metrics/README.md")
        made.setdefault(_described(spec, metric), (spec, metric))
    return list(made.values())


def _described(spec: str, metric: Metric) -> str:
    """The identity of a metric whose description can be stored; a stranger's may raise, or hold what JSON does not."""
    try:
        identity = metric.identity
        json.dumps(dict(metric.facts), allow_nan=False)
        low, high = map(float, metric.range)
    except TedbenchError:
        raise
    except Exception as error:
        raise MetricError(
            f"metric {spec!r} cannot say what it is: {short(error)}; facts are text or numbers"
        ) from error
    if not isinstance(identity, str) or not identity or not low < high:
        raise MetricError(f"metric {spec!r}: identity must be a text, and range two numbers; see metrics/README.md")
    return identity


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
    scored = set() if again else run.scored()
    jobs = [_job(run, spec, metric, captions, again) for spec, metric in metrics]
    todo = [job for job in jobs if job.identity not in scored]
    for job in todo:
        _check_needs(job.spec, job.metric, list(pairs.values()))
    cells = run.cell_list()
    by_photo = sorted((cell for cell in cells if cell.status == "ok"), key=lambda c: (c.image_id, c.uid))
    rows = [_row(cell, job, math.nan) for cell in cells if cell.status != "ok" for job in todo]
    tally = Tally()
    bar = tqdm(total=len(by_photo), desc="score", unit="image", disable=None if todo else True)
    with caught(tally):
        for chunk, decoded in _decoded_ahead(run, by_photo) if todo else ():
            rows += _score_chunk(chunk, decoded, pairs, todo, tally)
            bar.update(len(chunk))
    bar.close()
    # Images that could not be read may be mended: then their scores are asked for again.
    digest = store.cells_digest(cells) if not tally.broken else store.INCOMPLETE
    facts = {job.identity: dataclasses.replace(_facts(job, tally, captions), cells=digest) for job in todo}
    for job in todo:
        if job.answers is not None:
            job.answers.write()
    if todo:
        store.write_scores(run, rows, facts)
    failed = tuple(f"{uid}: {why}" for uid, why in tally.broken.items())
    skipped = tuple(job.spec for job in jobs if job not in todo)
    return Scored(len(by_photo), failed, tuple(facts.values()), skipped)


def _score_chunk(
    cells: Sequence[Cell],
    decoded: Sequence[Image | ImageError],
    pairs: dict[str, EditPair],
    jobs: Sequence[Job],
    tally: Tally,
) -> list[dict[str, Any]]:
    good = [(cell, image) for cell, image in zip(cells, decoded, strict=True) if isinstance(image, Image)]
    bad = [(cell, error) for cell, error in zip(cells, decoded, strict=True) if isinstance(error, ImageError)]
    tally.broken |= {cell.uid: short(error) for cell, error in bad}
    rows = [_row(cell, job, math.nan) for cell, _ in bad for job in jobs]
    for job in jobs:
        able, lacking = [], tally.unscored.setdefault(job.spec, {})
        for cell, image in good:
            lacks = [need for need in sorted(job.metric.needs) if getattr(pairs[cell.uid], need, None) is None]
            if lacks:
                lacking[cell.uid] = f"the pair has no {lacks[0]}"
            else:
                able.append(Item(cell, pairs[cell.uid], image))
        values = checked(job, able, tally)
        scored = {id(item.cell): value for item, value in zip(able, values, strict=True)}
        rows += [_row(cell, job, scored.get(id(cell), math.nan)) for cell, _ in good]
    return rows


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
    """The pairs that the run asked, which may be a part of the data set."""
    there, pairs = {pair.uid: pair for pair in dataset.pairs}, {}
    for row in run.pairs().to_dict("records"):
        uid, pair = row["uid"], there.get(row["uid"])
        fault = "lacks" if pair is None else _difference(pair, row, dataset.info.captions)
        if pair is None or fault:
            raise StoreError(
                f"the data set {fault} pair {uid!r} of {run.path}; score with the data the run was made from (--data)"
            )
        if pair.source_text is None and isinstance(row["source_text"], str) and not dataset.info.captions:
            pair = dataclasses.replace(pair, source_text=row["source_text"])
        pairs[uid] = pair
    return pairs


def _difference(pair: EditPair, row: Mapping[Hashable, Any], captions: str) -> str:
    """What a pair has another of than the run's row, as part of a sentence; empty if nothing."""
    ours = {
        "photo": (pair.image.sha256, row["sha256"]),
        "text": (pair.target_text, row["target_text"]),
        "mask": (pair.mask and pair.mask.sha256, row["mask_sha256"]),
        "truth": (pair.truth and pair.truth.sha256, row["truth_sha256"]),
    }
    if pair.source_text is not None and not captions:
        ours["source text"] = (pair.source_text, row["source_text"])
    changed = [what for what, (now, then) in ours.items() if now != (then if isinstance(then, str) else None)]
    return f"has another {' and '.join(changed)} for" if changed else ""


def _job(run: RunFolder, spec: str, metric: Metric, captions: str, again: bool) -> Job:
    # Source captions are not the data set's own: who wrote them moves the number, so they are part of its name.
    added = f"/captions={captions.replace(' ', '-')}" if captions and "source_text" in metric.needs else ""
    identity = metric.identity + added
    return Job(spec, metric, identity, Answers(run.path, identity, again) if asks(metric) else None)


def _check_needs(spec: str, metric: Metric, pairs: Sequence[EditPair]) -> None:
    for need in sorted(metric.needs):
        if not any(getattr(pair, need, None) is not None for pair in pairs):
            hint = "; give source captions with --captions FILE" if need == "source_text" else ""
            raise MetricError(f"metric {spec!r} needs {need}, which no pair of this data set has{hint}")


def _facts(job: Job, tally: Tally, captions: str) -> MetricFacts:
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
        unscored={**tally.broken, **tally.unscored.get(spec, {})},
        captions=captions if "source_text" in metric.needs else "",
        needs=tuple(sorted(metric.needs)),
        versions=environment.versions(),
        seconds=round(tally.seconds.get(spec, 0.0), 3),
    )


def _row(cell: Cell, job: Job, value: float) -> dict[str, Any]:
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
