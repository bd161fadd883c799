"""Pairs × methods × seeds: fit, sweep, write as it goes, and go on where it stopped, by content.

results/NAME/run.json        what is asked, resolved, so that an interrupted run can go on
results/NAME/sweeps, images  what was done, under any configuration; sweeps/done.jsonl is its list (`journal`)
results/NAME/cells.jsonl     the rows of what is asked now, `missing` where not run yet; written now and then
results/NAME/events.jsonl    what happened when
results/NAME/fits            what methods learned of each pair, if asked for (`keep_fits`)
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tedbench import config as configs
from tedbench import contenders as competitors
from tedbench import datasets, disk, environment, images, store
from tedbench.config import RunConfig
from tedbench.contenders import Contender
from tedbench.errors import StoreError, UsageError
from tedbench.running import executing, journal
from tedbench.running.asked import Asked
from tedbench.running.pool import Executor
from tedbench.running.progress import How, Progress
from tedbench.running.tallying import Ran
from tedbench.types import Dataset, Run

AS_USUAL = How()
FORMAT = 2
"""Of a run's folder; in the first, a sweep was known by its name."""
BEFORE = ("sweeps", store.FITS)
"""What a runner makes before run.json."""
TRIES = 100
"""To hold a folder that others make and remove."""


def load(config: RunConfig) -> Dataset:
    """The questions of a run; raises as `datasets.load`."""
    if config.limit is not None and config.limit < 1:
        raise UsageError(f"--limit {config.limit}: take at least 1 pair")
    captions = config.captions or None
    dataset = datasets.load(config.dataset, config.data, config.source, captions, config.revision or None)
    return dataset if config.limit is None else datasets.take(dataset, config.limit)


def run(config: RunConfig, out: Path, command: Sequence[str] = (), how: How = AS_USUAL) -> Ran:
    """Run methods over a data set, into a new folder or going on in one; what is there by content is kept.

    Args:
        config: what is asked.
        out: the run's folder.
        command: what the user typed, for run.json.
        how: retries, limits and the like.

    Raises:
        StoreError: if `out` holds something else or a runner at work, or cannot be written.
        DataError, UsageError, UnknownName, PluginError: before anything is run, as data and methods are at fault.
        MethodError: at the first failure, where `fail_fast` asks for that.
        KeyboardInterrupt: after what is done was written down.
    """
    place = out.absolute()  # a method may go to another folder; messages show what was typed
    executing.check(how, config.devices)
    made = competitors.build(config.methods, place / store.FITS if config.keep_fits else None)
    dataset = load(config)
    competitors.check_needs(made, dataset.pairs)
    with opened(place, out):
        check_begun(place, out, dataset)
        journal.mend(place)
        how = dataclasses.replace(how, threads=executing.threads(how, _threads(place)))
        with closing(executing.make(made, how, config.devices, config.time_limit)) as executor:
            noted = executor.prepare([at for at, one in enumerate(made) if one.silent])
            made = [_told(one, noted.get(at, {})) for at, one in enumerate(made)]
            with closing(Progress(place, Asked(made, dataset.pairs, config.seeds), how)) as progress:
                progress.look()
                progress.relist()
                noted |= executor.prepare([at for at in progress.busy if at not in noted])
                asked = _run(config, made, dataset, place, command, how.threads)
                store.write_run(place, _executed(asked, made, noted, progress), dataset.pairs, progress.cells())
                write = partial(_write, progress, place, lambda: _executed(asked, made, noted, progress))
                return dataclasses.replace(_worked(partial(_work, progress, executor), write), out=out)


def _work(progress: Progress, executor: Executor) -> None:
    progress.work(executor)
    progress.journal.end()


def _write(progress: Progress, place: Path, now: Callable[[], Run]) -> Ran:
    ran = progress.write()
    disk.write_json(place / "run.json", dataclasses.asdict(now()))
    return ran


def _worked(work: Callable[[], None], write: Callable[[], Ran]) -> Ran:
    """Work, and have rows and run.json say what there is, also when it is interrupted or fails; why it does is told."""
    try:
        work()
    except BaseException as error:
        with suppress(StoreError):  # of a full disk, say, which is what is being told; the next call writes them
            write()
        if isinstance(error, StoreError):
            raise StoreError(f"{error}; what was done before is kept, and the same command goes on") from error
        raise
    return write()


def _threads(place: Path) -> Any:
    """What a run that goes on has them recorded as; None in a new one, and in those of earlier versions."""
    return store.open_run(place).run.config.get("threads") if (place / "run.json").exists() else None


def _run(
    config: RunConfig, made: Sequence[Contender], dataset: Dataset, out: Path, command: Sequence[str], threads: int
) -> Run:
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
        execution={},
        config={
            **configs.recorded(pinned, info.location, place),
            "paths": _paths(made, place),
            "png_level": images.PNG_LEVEL,
            "threads": threads,
        },
        knobs={one.label: one.turned_by() for one in made},
        format=FORMAT,
    )


def _paths(made: Sequence[Contender], place: Path) -> dict[str, dict[str, str]]:
    found = {one.label: configs.paths(one.fields, place) for one in made}
    return {label: named for label, named in found.items() if named}


@contextmanager
def opened(out: Path, typed: Path) -> Iterator[None]:
    """The run's folder, made if need be and held, so that no second runner writes there at the same time."""
    _check_no_stranger(out, typed)
    new = [folder for folder in (out / store.FITS, out / "sweeps", out, *out.parents) if not folder.exists()]
    with _held(out, typed):
        _clean(out)
        try:
            yield
        finally:
            if not (out / "run.json").exists():  # nothing was begun: a model could not be loaded, say
                _remove_empty(new)


def _check_no_stranger(out: Path, typed: Path) -> None:
    """Refuse a folder with other things in it.

    Raises:
        StoreError: naming one of them.
    """
    with disk.explained(typed):
        try:
            names = os.listdir(out)  # noqa: PTH208  (its folder may vanish under an iterdir that waits)
        except (FileNotFoundError, NotADirectoryError) as error:
            names = [out.name] if isinstance(error, NotADirectoryError) else []
    strange = [name for name in names if name not in BEFORE and not name.endswith(".partial")]
    # Looked at last: a runner that began meanwhile writes run.json before all else, so what is there is a run's.
    if strange and not any((out / name).exists() for name in ("run.json", journal.NAME)):
        raise StoreError(f"{typed} holds {strange[0]!r} and is no run; choose another --out")


@contextmanager
def _held(out: Path, typed: Path) -> Iterator[None]:
    # Not the folder itself: `tedbench score` holds that one, and may work while this runs.
    busy = f"{typed} is being run by another process; wait for it, or choose another --out"
    with ExitStack() as held:
        for left in reversed(range(TRIES)):
            try:
                (out / "sweeps").mkdir(parents=True, exist_ok=True)
                held.enter_context(disk.locked(out / "sweeps", busy))
                break
            except OSError as error:
                # Another runner that had begun nothing removes what it made, from under this one; mkdir calls a folder
                # that is gone when it looks again a file that exists.
                if not isinstance(error, FileNotFoundError | FileExistsError) or not left:
                    with disk.explained(typed):
                        raise
        yield


def _clean(out: Path) -> None:
    """Remove what a runner that was killed had half written; files that `tedbench score` writes are left to it."""
    mine = (path for name in store.WRITTEN for path in out.glob(f".{name}.*.partial"))
    inside = (path for place in ("images", "sweeps") for path in (out / place).rglob(".*.partial"))
    with disk.explained(out):
        for leftover in itertools.chain(mine, inside):
            leftover.unlink(missing_ok=True)
        for scratch in (out / store.FITS).glob(".fit*/"):
            shutil.rmtree(scratch)


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:  # the innermost first
            if folder.exists():
                folder.rmdir()


def check_begun(out: Path, typed: Path, dataset: Dataset) -> None:
    """Refuse to go on in what is another thing.

    Raises:
        StoreError: saying what it is.
    """
    if not (out / "run.json").exists():
        return
    began = store.open_run(out).run
    if began.kind != "run":
        raise StoreError(f"{typed} holds images that were imported; choose another --out")
    if began.format != FORMAT:
        raise StoreError(f"{typed} was begun by an earlier version, which knew sweeps by name; choose another --out")
    if began.dataset.name.partition(":")[0] != dataset.info.name.partition(":")[0]:
        raise StoreError(f"{typed} is over {began.dataset.name}, not {dataset.info.name}; choose another --out")


def _told(one: Contender, noted: Mapping[str, Any]) -> Contender:
    return dataclasses.replace(one, model=str(noted["model"])) if "model" in noted else one


def _executed(run: Run, made: Sequence[Contender], noted: Mapping[int, Mapping[str, Any]], progress: Progress) -> Run:
    """The run with how its sweeps were computed, by method: distinct codes, models, devices, threads, batches."""
    execution: dict[str, dict[str, list[Any]]] = {}
    for at, one in enumerate(made):
        kept = {name: list(values) for name, values in progress.how.get(one.label, {}).items()}
        model = noted.get(at, {}).get("model")
        if model is not None and model not in kept.setdefault("model", []):
            kept["model"].append(model)
        execution[one.label] = {**({"code": [one.code]} if one.code else {}), **kept}
    return dataclasses.replace(run, execution=execution)
