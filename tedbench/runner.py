"""Pairs × methods × seeds: fit, sweep, write as it goes, and go on where it stopped.

results/NAME/run.json        written first: what is asked, so that an interrupted run can go on
results/NAME/images, sweeps  a sweep's images, then its record; what has a record is not done again
results/NAME/cells.jsonl     all rows, `missing` where not run yet; written now and then, and at the end
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tedbench import config as configs
from tedbench import contenders as competitors
from tedbench import datasets, disk, environment, store, sweeps
from tedbench.config import RunConfig
from tedbench.contenders import Contender
from tedbench.errors import StoreError, UsageError
from tedbench.sweeps import Done, Sweep
from tedbench.types import Cell, Dataset, Run

EXECUTION = ("model", "device", "dtype", "threads", "batches")
"""Noted facts that say how a sweep was computed; a run keeps their distinct values."""
COMPARED = ("model", "code")
"""What is known of a method before its first sweep, and moves pixels: two calls on one folder must agree."""
MOVED = ("model", "device", "fits", "batch")
"""Fields that move no pixel where the model's hash is known: where it lies and works, what it keeps, its batches."""
EVERY = 30.0
"""Seconds between two writings of cells.jsonl."""


@dataclass(frozen=True)
class Ran:
    """What a run did."""

    out: Path
    asked: int
    """Images."""
    ok: int
    failed: tuple[str, ...]
    """One line for each sweep that failed, now or earlier."""
    failed_images: int
    kept: int
    """Sweeps done by an earlier call."""
    kept_failed: int
    """Those of them that failed then, and were not tried again."""
    redone: int
    """Sweeps done again, since their record or images were damaged."""


def load(config: RunConfig) -> Dataset:
    """The questions of a run; raises as `datasets.load`."""
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"--limit {config.limit}: take at least 1 pair")
    captions = config.captions or None
    dataset = datasets.load(config.dataset, config.data, config.source, captions, config.revision or None)
    return dataset if config.limit is None else datasets.take(dataset, config.limit)


def run(config: RunConfig, out: Path, command: Sequence[str] = (), retry_failed: bool = False) -> Ran:
    """Run methods over a data set, into a new folder or going on in one that this configuration began.

    Args:
        config: what is asked.
        out: the run's folder.
        command: what the user typed, for run.json.
        retry_failed: whether sweeps that failed in an earlier call are done again.

    Raises:
        StoreError: if `out` holds something else, another configuration or a runner at work, or cannot be written.
        DataError, UsageError, UnknownName, PluginError: before anything is run, as data and methods are at fault.
        KeyboardInterrupt: after what is done was written down.
    """
    place = out.absolute()  # a method may go to another folder; messages show what was typed
    made = competitors.build(config.methods)
    dataset = load(config)
    competitors.check_needs(made, dataset.pairs)
    with _opened(place, out):
        asked = _run(config, made, dataset, place, command)
        _began(place, out, asked, loaded=False)  # a model takes minutes to load: first what needs none is compared
        noted = competitors.prepare(made)
        began = _began(place, out, _prepared(asked, made, noted, place), loaded=True)
        todo = [Sweep(one, pair, seed) for one in made for pair in dataset.pairs for seed in config.seeds]
        progress = _Progress(place, todo, retry_failed)
        store.write_run(place, began, dataset.pairs, progress.cells())
        try:
            progress.work()
        finally:  # also when interrupted: rows and run.json say what there is
            store.write_cells(place, progress.cells())
            disk.write_json(place / "run.json", dataclasses.asdict(_executed(began, progress)))
    return dataclasses.replace(progress.summary(), out=out)


class _Progress:
    """The sweeps of a run, and what is known of each."""

    def __init__(self, out: Path, todo: Sequence[Sweep], retry_failed: bool) -> None:
        self.out, self.todo = out, todo
        found = [sweeps.done(sweep, out) for sweep in todo]
        kept = {at: one for at, one in enumerate(found) if isinstance(one, Done)}
        self.done = {at: one for at, one in kept.items() if not (retry_failed and _failed(one))}
        self.kept = frozenset(self.done)
        self.redone = found.count("damaged")
        self.written = time.monotonic()

    def work(self) -> None:
        cells = sum(len(sweep.contender.strengths) for sweep in self.todo)
        before = sum(len(one.cells) for one in self.done.values())
        with tqdm(total=cells, initial=before, desc="run", unit="image", disable=None) as bar:
            for at, sweep in enumerate(self.todo):
                if at not in self.done:
                    bar.set_postfix_str(f"{sweep.contender.label} {sweep.pair.uid[:30]}", refresh=True)
                    self.done[at] = self._do(at, sweep)
                    bar.update(len(sweep.contender.strengths))
                    self._write_now_and_then()

    def _do(self, at: int, sweep: Sweep) -> Done:
        """Run a sweep; one of a method that draws no noise is made for one seed, and the others are as that one."""
        made = self.done.get(at - 1)  # the same pair's seed before, if there is one
        if made is None or not getattr(sweep.contender.method, "deterministic", False) or _failed(made):
            return sweeps.run(sweep, self.out)
        before = self.todo[at - 1]
        same = before.contender is sweep.contender and before.pair is sweep.pair
        return sweeps.repeat(sweep, made, self.out) if same else sweeps.run(sweep, self.out)

    def cells(self) -> Iterator[Cell]:
        for at, sweep in enumerate(self.todo):
            yield from self.done[at].cells if at in self.done else sweep.blank("missing", "not run yet")

    def summary(self) -> Ran:
        cells = list(self.cells())
        failed = {at: one for at, one in self.done.items() if _failed(one)}
        lines = [f"{self.todo[at].record}: {one.cells[0].error}" for at, one in sorted(failed.items())]
        return Ran(
            out=self.out,
            asked=len(cells),
            ok=sum(cell.status == "ok" for cell in cells),
            failed=tuple(lines),
            failed_images=sum(cell.status == "failed" for cell in cells),
            kept=len(self.kept),
            kept_failed=len(self.kept & set(failed)),
            redone=self.redone,
        )

    def _write_now_and_then(self) -> None:
        if time.monotonic() - self.written > EVERY:
            store.write_cells(self.out, self.cells())
            self.written = time.monotonic()


def _failed(done: Done) -> bool:
    return done.cells[0].status == "failed"


def _run(config: RunConfig, made: Sequence[Contender], dataset: Dataset, out: Path, command: Sequence[str]) -> Run:
    info, place = dataset.info, out.resolve()
    location = os.path.relpath(info.location, place) if info.location else ""
    # What a hub calls "the newest" is another thing tomorrow: the run goes on with what it began with.
    pinned = dataclasses.replace(config, revision=info.revision if config.source == "hub" else config.revision)
    return Run(
        name=out.name or place.name,
        created=environment.now(),
        kind="run",
        dataset=dataclasses.replace(info, location=location),
        methods={one.label: one.recorded() for one in made},
        command=tuple(command),
        versions=environment.versions(),
        hardware=environment.hardware(),
        git_commit=environment.git_commit(),
        execution={one.label: {"code": one.code()} for one in made if one.code()},
        config={**configs.recorded(pinned, info.location, place), "paths": _paths(made, place)},
        knobs={one.label: one.turned_by() for one in made},
    )


def _paths(made: Sequence[Contender], place: Path) -> dict[str, dict[str, str]]:
    found = {one.label: configs.paths(one.fields, place) for one in made}
    return {label: named for label, named in found.items() if named}


@contextmanager
def _opened(out: Path, typed: Path) -> Iterator[None]:
    """The run's folder, made if need be and held, so that no second runner writes there at the same time."""
    if out.exists() and not (out / "run.json").exists():
        strange = [path.name for path in out.iterdir() if path.name != "sweeps"] if out.is_dir() else [out.name]
        strange = [name for name in strange if not name.endswith(".partial")]
        if strange:
            raise StoreError(f"{typed} holds {strange[0]!r} and is no run; choose another --out")
    new = [folder for folder in (out / "sweeps", out, *out.parents) if not folder.exists()]
    with disk.explained(typed):
        (out / "sweeps").mkdir(parents=True, exist_ok=True)
    # Not the folder itself: `tedbench score` holds that one, and may work while this runs.
    with disk.locked(out / "sweeps", f"{typed} is being run by another process; wait for it, or choose another --out"):
        for leftover in (path for place in ("images", "sweeps") for path in (out / place).rglob(".*.partial")):
            leftover.unlink(missing_ok=True)  # of a process that was killed
        try:
            yield
        finally:
            if not (out / "run.json").exists():  # nothing was begun: a model could not be loaded, say
                _remove_empty(new)


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:  # the innermost first
            folder.rmdir()


def _began(out: Path, typed: Path, asked: Run, loaded: bool) -> Run:
    """The run as it was begun, if it was; else as it is asked.

    Args:
        out: the run's folder.
        typed: that folder as the user wrote it, for messages.
        asked: what is asked now.
        loaded: whether the methods have loaded their models, so that these can be compared.

    Raises:
        StoreError: if what was begun here is another run.
    """
    if not (out / "run.json").exists():
        return asked
    began = store.open_run(out).run
    if began.kind != "run":
        raise StoreError(f"{typed} holds images that were imported; choose another --out")
    differs = _difference(began, asked, loaded)
    if differs:
        raise StoreError(
            f"{typed} was begun with another configuration: {differs}; ask for the same, or choose another --out"
        )
    return dataclasses.replace(began, dataset=asked.dataset, config=asked.config, knobs=asked.knobs)


def _difference(began: Run, asked: Run, loaded: bool) -> str:
    """What moves a pixel and is not the same, as part of a sentence; empty if nothing."""
    old, new = _facts(began), _facts(asked)
    for label, said in asked.execution.items():
        for what in (name for name in COMPARED if name in said):  # a method may say its model later, or never
            key = f"{what} of {label}"
            old[key], new[key] = began.execution.get(label, {}).get(what, said[what]), said[what]
    then, now = began.config.get("paths", {}), asked.config.get("paths", {})
    for label in asked.methods:
        for key, place in now.get(label, {}).items():
            if key in then.get(label, {}):  # one place, whatever it is called from here
                old[f"{label} {key}"], new[f"{label} {key}"] = then[label][key], place
        known = "model" in began.execution.get(label, {})
        if known and ("model" in asked.execution.get(label, {}) or not loaded):
            for facts, key in ((facts, f"{label} {key}") for facts in (old, new) for key in MOVED):
                facts.pop(key, None)
    for key in [*new, *(key for key in old if key not in new)]:
        if key not in old or key not in new:
            return f"{key} is {'new' if key in new else 'not asked for now'}"
        if old[key] != new[key]:
            return f"{key} was {json.dumps(old[key])[:60]}, now {json.dumps(new[key])[:60]}"
    return ""


def _facts(run: Run) -> dict[str, Any]:
    info = run.dataset
    flat: dict[str, Any] = {"data set": info.name, "limit": info.part or "none", "list of pairs": info.sha256[:12]}
    flat |= {"captions": info.captions or "none", "seeds": run.config.get("seeds")}
    for label, fields in run.methods.items():
        flat[f"method {label}"] = fields.get("name")
        flat |= {f"{label} {key}": value for key, value in fields.items() if key not in ("spec", "name")}
    return flat


def _prepared(run: Run, made: Sequence[Contender], noted: Mapping[str, Mapping[str, Any]], out: Path) -> Run:
    """The run with the model that each method has loaded, by its hash: one path may hold another model tomorrow.

    Paths are looked for again, since a method may have made a folder of its own.
    """
    models = {
        label: {"model": [said["model"]]} for label, raw in noted.items() if "model" in (said := sweeps.kept(raw))
    }
    execution = {one.label: {**run.execution.get(one.label, {}), **models.get(one.label, {})} for one in made}
    known = {label: said for label, said in execution.items() if said}
    return dataclasses.replace(run, execution=known, config={**run.config, "paths": _paths(made, out.resolve())})


def _executed(began: Run, progress: _Progress) -> Run:
    """The run with how its sweeps were computed, by method."""
    execution = {label: {key: list(seen) for key, seen in kept.items()} for label, kept in began.execution.items()}
    for at, one in sorted(progress.done.items()):
        kept = execution.setdefault(progress.todo[at].contender.label, {})
        for key in EXECUTION:
            if key in one.facts and one.facts[key] not in kept.setdefault(key, []):
                kept[key].append(one.facts[key])
    return dataclasses.replace(began, execution={label: _filled(kept) for label, kept in execution.items()})


def _filled(kept: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {key: values for key, values in kept.items() if values}
