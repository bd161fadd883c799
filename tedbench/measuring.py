"""One metric on some images, held to its contract; and what is counted while images go by."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from PIL.Image import Image

from tedbench.answers import Answers
from tedbench.errors import MetricError, MetricNote, TedbenchError, short
from tedbench.types import AskingMetric, Cell, EditPair, Metric


@dataclass(frozen=True)
class Job:
    """A metric to compute, and the identity its numbers are stored under."""

    spec: str
    metric: Metric
    identity: str
    answers: Answers | None = None
    """Where the answers go, of a metric that asks somebody."""


@dataclass(frozen=True)
class Item:
    """One stored image before a metric."""

    cell: Cell
    pair: EditPair
    image: Image


class Tally:
    """What is counted while chunks go by."""

    def __init__(self) -> None:
        self.caught: list[warnings.WarningMessage] = []
        self.broken: dict[str, str] = {}
        self.unscored: dict[str, dict[str, str]] = {}
        self.notes: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}


def asks(metric: Metric) -> bool:
    """Whether a metric is an `AskingMetric`; looks at the class, so that nothing is computed."""
    return callable(getattr(type(metric), "score_with_answers", None))


def checked(job: Job, items: Sequence[Item], tally: Tally) -> Sequence[float]:
    """The values of a metric, one an item; nan only with a reason on record.

    Raises:
        MetricError: if the metric cannot be computed, or breaks its contract.
    """
    if not items:
        return []
    started, before, spec = time.perf_counter(), len(tally.caught), job.spec
    values = _values(job, items, tally)
    notes = [str(w.message) for w in tally.caught[before:] if issubclass(w.category, MetricNote)]
    tally.notes.setdefault(spec, []).extend(notes)
    if len(values) != len(items):
        raise MetricError(f"metric {spec!r} gave {len(values)} values for {len(items)} images; it must give one each")
    low, high = job.metric.range
    lost = tally.unscored.setdefault(spec, {})
    explained = [bool(notes) or item.pair.uid in lost for item in items]
    within = [
        low - 1e-6 <= v <= high + 1e-6 or (math.isnan(v) and why) for v, why in zip(values, explained, strict=True)
    ]
    outside = [value for value, fine in zip(values, within, strict=True) if not fine]
    if outside:  # also NaN, unless there is a reason on record
        raise MetricError(f"metric {spec!r} gave {outside[0]}, outside its range [{low}, {high}]; no score was written")
    for item, value in zip(items, values, strict=True):
        if math.isnan(value):
            lost.setdefault(item.pair.uid, "see the notes of the metric")
    tally.seconds[spec] = tally.seconds.get(spec, 0.0) + time.perf_counter() - started
    return values


def _values(job: Job, items: Sequence[Item], tally: Tally) -> list[float]:
    """The metric's values; where it refuses some pairs of several, theirs are NaN and the reason is on record."""
    try:
        return _computed(job, items)
    except MetricError as error:
        if len(items) == 1:
            raise
        one_by_one: list[float] = []
        for item in items:
            try:
                one_by_one += _values(job, [item], tally)
            except MetricError as refusal:
                tally.unscored.setdefault(job.spec, {})[item.pair.uid] = short(refusal)
                one_by_one.append(math.nan)
        if all(map(math.isnan, one_by_one)):  # not a matter of single pairs
            raise error
        return one_by_one
    except TedbenchError:
        raise
    except Exception as error:  # a stranger's metric can raise anything
        raise MetricError(f"metric {job.spec!r} failed: {short(error)}; --debug shows where") from error


def _computed(job: Job, items: Sequence[Item]) -> list[float]:
    pairs, edits = [item.pair for item in items], [item.image for item in items]
    if job.answers is None:
        return [float(value) for value in job.metric.score(pairs, edits)]
    values, answers = cast(AskingMetric, job.metric).score_with_answers(pairs, edits, job.answers)
    job.answers.add(job.spec, [item.cell for item in items], answers)
    return [float(value) for value in values]


@contextmanager
def caught(tally: Tally) -> Iterator[None]:
    """Gather the notes of metrics; other warnings are given when the block ends."""
    # Once around everything and in this thread alone: catch_warnings is global to the process, and decoding has a
    # thread of its own, whose Pillow warnings are ignored here.
    with warnings.catch_warnings(record=True) as recorded:
        tally.caught = recorded
        warnings.simplefilter("always", MetricNote)
        warnings.filterwarnings("ignore", module="PIL")
        yield
    for other in recorded:
        if not issubclass(other.category, MetricNote):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
