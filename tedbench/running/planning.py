"""What a run would do before it does it, and how far one is, from outside."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedbench import contenders as competitors
from tedbench import disk, store
from tedbench.config import RunConfig
from tedbench.contenders import Contender
from tedbench.running import events, runner
from tedbench.running.asked import Asked
from tedbench.running.progress import How, Progress

ENOUGH = 1000
"""Images whose time and size are looked at."""


@dataclass(frozen=True)
class Line:
    """One method of a plan."""

    label: str
    sweeps: int
    images: int
    done: int
    """Images that are there, or failed and would not be tried again."""
    failed: int
    left: int
    seconds: float | None
    """Mean of an image, its part of the fit included, of those that were measured; None where none was."""
    bytes: float | None
    """Mean of an image's file."""


@dataclass(frozen=True)
class Status:
    """How far the last call on a run is."""

    images: int
    done: int
    failed: int
    """Images that failed in that call."""
    rate: float | None
    """Images a second in that call."""
    running: bool
    last: Mapping[str, Any]
    """The last event."""

    @property
    def seconds_left(self) -> float | None:
        """At that rate; None where there is none."""
        return (self.images - self.done) / self.rate if self.rate else None


def plan(config: RunConfig, out: Path, retry_failed: bool = False) -> list[Line]:
    """What a configuration asks for, what of it is done in a folder, and what the rest will take.

    Args:
        config: what is asked.
        out: the run's folder; it need not be there.
        retry_failed: whether failures would be tried again.

    Raises:
        StoreError, DataError, UsageError, UnknownName, PluginError: as `runner.run`.
    """
    with closing(Progress(out, asked(config, out), How(retry_failed))) as progress:
        progress.look()
        return [_line(progress, at) for at in range(len(progress.made))]


def asked(config: RunConfig, out: Path) -> Asked:
    """Every sweep that a configuration asks for in a folder; raises as `plan`."""
    made = competitors.build(config.methods)
    dataset = runner.load(config)
    competitors.check_needs(made, dataset.pairs)
    if (out / "run.json").exists():
        runner.check_begun(out, out, dataset)
        made = _as_loaded(made, store.open_run(out).run.execution)
    return Asked(made, dataset.pairs, config.seeds)


def status(out: Path) -> Status:
    """How far the last call on a run is, and whether it still runs.

    Raises:
        StoreError: if the folder is no run.
    """
    store.open_run(out)
    began: dict[str, Any] = {}
    images = failed = 0
    last: dict[str, Any] = {}
    for event in _events(out):
        last = event
        if event["event"] == "begin":
            began, images, failed = event, 0, 0
        elif event["event"] == "sweep":
            images += int(event["images"])
        elif event["event"] == "failed":
            failed += int(event["images"])
    seconds = _seconds(began, last) if began else 0.0
    rate = images / seconds if seconds else None
    total = int(began.get("images", 0))
    return Status(total, int(began.get("done", 0)) + images, failed, rate, disk.is_held(out / "sweeps"), last)


def _as_loaded(made: Sequence[Contender], execution: Mapping[str, Mapping[str, Any]]) -> list[Contender]:
    """Methods that know their model only when it is loaded, with the one that the run had last."""
    known = {label: kept["model"][-1] for label, kept in execution.items() if kept.get("model")}
    return [
        dataclasses.replace(one, model=str(known[one.label])) if one.label in known and one.silent else one
        for one in made
    ]


def _line(progress: Progress, which: int) -> Line:
    contender, sweeps = progress.made[which], len(progress.todo) // len(progress.made)
    images = sweeps * len(contender.strengths)
    left, failed = progress.images_left[contender.label], progress.images_failed[contender.label]
    means = _means(progress, range(which * sweeps, (which + 1) * sweeps)) if left < images else (None, None)
    return Line(contender.label, sweeps, images, images - left, failed, left, *means)


def _means(progress: Progress, places: Iterable[int]) -> tuple[float | None, float | None]:
    """Seconds and bytes of an image, over the first that were measured."""
    measured, seconds, size = 0, 0.0, 0.0
    for at in places:
        sweep = progress.todo[at]
        for row in (progress.journal.look_up(sweep.key)[0] or {"cells": []})["cells"]:
            if row["status"] == "ok":
                # a sweep's seconds stand on each of its images, and count once for all of them
                taken = row.get("fit_seconds", 0.0) + row.get("edit_seconds", 0.0)
                seconds += taken / max(1, len(sweep.contender.strengths))
                size, measured = size + row["size"], measured + 1
        if measured >= ENOUGH:
            break
    return (seconds / measured, size / measured) if measured else (None, None)


def _events(out: Path) -> Iterator[dict[str, Any]]:
    path = out / events.NAME
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                try:
                    event = json.loads(line)
                except ValueError:  # half written, by a process that died or is at it
                    continue
                if isinstance(event, dict) and "event" in event:
                    yield event


def _seconds(first: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    import datetime

    ends = [datetime.datetime.fromisoformat(str(one["at"]).replace("Z", "+00:00")) for one in (first, last)]
    return (ends[1] - ends[0]).total_seconds()
