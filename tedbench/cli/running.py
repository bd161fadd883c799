"""`tedbench run`: methods over a data set."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tedbench.cli.keeping import length, size
from tedbench.cli.options import DataOption
from tedbench.cli.run_options import (
    AddressOption,
    CaptionsName,
    DatasetName,
    DeviceOption,
    ExecutorOption,
    ExtrapolateOption,
    FailFastOption,
    FieldsOption,
    GpusOption,
    KeepFitsOption,
    LimitOption,
    MethodsOption,
    MetricsOption,
    ModelOption,
    OutOption,
    RetryFailedOption,
    SeedsOption,
    ShardOption,
    SourceArgument,
    SourceName,
    StrengthsOption,
    ThreadsOption,
    TimeLimitOption,
    WatchOption,
    WorkersOption,
)
from tedbench.cli.stopping import Stopped
from tedbench.errors import UsageError

if TYPE_CHECKING:
    from tedbench.config import Flags, RunConfig
    from tedbench.running.planning import Line
    from tedbench.running.tallying import Ran


def run(
    source: SourceArgument = None,
    out: OutOption = None,
    method: MethodsOption = [],  # noqa: B006  (typer copies it)
    dataset: DatasetName = None,
    data: DataOption = None,
    source_name: SourceName = None,
    captions: CaptionsName = None,
    limit: LimitOption = None,
    seeds: SeedsOption = None,
    metrics: MetricsOption = [],  # noqa: B006
    strengths: StrengthsOption = [],  # noqa: B006
    extrapolate: ExtrapolateOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
    fields: FieldsOption = [],  # noqa: B006
    keep_fits: KeepFitsOption = None,
    retry_failed: RetryFailedOption = False,
    fail_fast: FailFastOption = False,
    time_limit: TimeLimitOption = None,
    threads: ThreadsOption = 0,
    executor: ExecutorOption = "local",
    address: AddressOption = "",
    workers: WorkersOption = 0,
    gpus: GpusOption = None,
    shard: ShardOption = "",
    watch: WatchOption = [],  # noqa: B006
) -> None:
    """Edit every pair of a data set with one or more methods. What is done is kept: the same call goes on.

    Exit code: 0 if at least one image was made, though others may have failed, 9 if none; others as for all commands.
    """
    from tedbench import config, registry
    from tedbench.remote import addresses, mirror
    from tedbench.running import runner
    from tedbench.running.onray import Wanted
    from tedbench.running.progress import How

    flags = config.Flags(
        dataset, data, captions, source_name, limit, seeds, metrics, method, strengths, model, device, fields,
        extrapolate, keep_fits, time_limit,
    )  # fmt: skip
    for name in watch:
        registry.find("watcher", name)
    # What is wrong with what was typed is told before an address is asked for anything.
    asked = None if source is not None and addresses.is_address(source) else _asked(source, flags)
    folder = out or (source if source is not None and _is_run(source) else None)
    if folder is None:
        raise UsageError("say where the images go: --out results/NAME")
    kept = Path.cwd() / mirror.folder_of(folder)  # a method may go to another folder
    wanted = Wanted(address, workers, gpus)
    how = How(retry_failed, fail_fast, threads, _shard(shard), executor, wanted, tuple(watch))
    try:
        with mirror.working(folder) as place:
            if place.finished:
                typer.echo(f"{folder}: worked on in {place.folder}")
            fetched = place.folder if source == folder else None
            asked = asked or _asked(source, flags, fetched)
            how = dataclasses.replace(how, finished=place.finished)
            ran = runner.run(asked, place.folder, ("tedbench", *sys.argv[1:]), how)
    except KeyboardInterrupt:
        begun = (kept / "run.json").exists()
        told = f"what is done is kept, go on with: tedbench run {shlex.quote(folder)}" if begun else "nothing begun"
        raise Stopped(told) from None
    _print_ran(ran, folder)
    if asked.metrics:
        _score(asked, ran, folder)
    elif ran.ok:
        typer.echo(f"next: tedbench score {shlex.quote(folder)} --metrics lpips-alex@256,lpips-alex@512")
    if ran.failed_images:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(ran.kinds.items(), key=lambda one: -one[1]))
        typer.echo(f"failures by kind: {kinds}", err=True)
        whole = f"{ran.failed_images} of {ran.asked} images failed"
        again = f"try them again with: tedbench run {shlex.quote(folder)} --retry-failed"
        typer.echo(f"{'PARTIAL' if ran.ok else 'NOTHING MADE'}: {whole}, and tables will say so; {again}", err=True)
    if not ran.ok:
        raise typer.Exit(9)


def plan(
    source: SourceArgument = None,
    out: OutOption = None,
    method: MethodsOption = [],  # noqa: B006
    dataset: DatasetName = None,
    data: DataOption = None,
    source_name: SourceName = None,
    captions: CaptionsName = None,
    limit: LimitOption = None,
    seeds: SeedsOption = None,
    metrics: MetricsOption = [],  # noqa: B006
    strengths: StrengthsOption = [],  # noqa: B006
    extrapolate: ExtrapolateOption = False,
    model: ModelOption = None,
    device: DeviceOption = None,
    fields: FieldsOption = [],  # noqa: B006
    retry_failed: RetryFailedOption = False,
) -> None:
    """Say what `run` with the same options would do: images asked for, there, left; time and disk, once measured."""
    from tedbench import config
    from tedbench.remote import addresses, mirror
    from tedbench.running import planning

    flags = config.Flags(
        dataset, data, captions, source_name, limit, seeds, metrics, method, strengths, model, device, fields,
        extrapolate,
    )  # fmt: skip
    fetched = mirror.local(source) if source is not None and addresses.is_address(source) else None
    asked = _asked(source, flags, fetched)
    folder = out or (source if source is not None and _is_run(source) else "results/not-begun")
    there = fetched if fetched and folder == source else mirror.local(folder, begun=False)
    lines = planning.plan(asked, there, retry_failed)
    width = max(len(one.label) for one in lines)
    typer.echo(f"{'method':{width}}  sweeps  images    done  failed    left  s/image  kB/image")
    for one in lines:
        seconds = "–" if one.seconds is None else f"{one.seconds:.3g}"
        kilobytes = "–" if one.bytes is None else f"{one.bytes / 1000:.3g}"
        counts = f"{one.sweeps:6}  {one.images:6}  {one.done:6}  {one.failed:6}  {one.left:6}"
        typer.echo(f"{one.label:{width}}  {counts}  {seconds:>7}  {kilobytes:>8}")
    for line in _told_left(lines):
        typer.echo(line)
    if asked.metrics:
        typer.echo(f"scored with {', '.join(asked.metrics)}, once nothing is missing")


def _asked(source: str | None, flags: Flags, fetched: Path | None = None) -> RunConfig:
    """What is asked, with every metric known: nobody wants to hear of a wrong one after a week."""
    from tedbench import config, registry

    asked = config.override(_base(source, fetched), flags)
    for spec in asked.metrics:
        registry.make("metric", spec)
    return asked


def _score(asked: RunConfig, ran: Ran, typed: str) -> None:
    """Score what was run, where nothing is missing any more."""
    from tedbench import scoring, store
    from tedbench.cli.scoring import dataset_of, print_scored
    from tedbench.remote import mirror

    name = shlex.quote(typed)
    if ran.missing:
        typer.echo(f"not scored yet, since {ran.missing} images are missing; go on with: tedbench run {name}")
        return
    if not ran.ok:
        return
    with mirror.scoring(typed) as folder:
        run = store.open_run(folder)
        made = scoring.make_metrics(asked.metrics, asked.devices[0] if asked.devices else "auto")
        captions = Path(asked.captions) if asked.captions else None
        scored = scoring.score_run(run, dataset_of(run, asked.data, captions), made)
    print_scored(scored, run, typed)
    typer.echo(f"next: tedbench report {name} --out {shlex.quote(f'reports/{folder.resolve().name}')}")


def _told_left(lines: list[Line]) -> list[str]:
    """What the rest takes, as far as anything like it was measured."""
    left = [one for one in lines if one.left]
    if not left:
        return ["nothing is left"]
    known = [one for one in left if one.seconds is not None and one.bytes is not None]
    told = [f"{sum(one.left for one in left)} images are left"]
    if known:
        time = length(sum(one.left * (one.seconds or 0) for one in known))
        disk = size(sum(one.left * (one.bytes or 0) for one in known))
        of = "" if len(known) == len(left) else f", of {', '.join(one.label for one in known)} alone"
        told.append(f"about {time} of work and {disk} of disk{of}, by the images that were measured")
    unknown = [one.label for one in left if one not in known]
    if unknown:
        told.append(f"nothing was measured yet of {', '.join(unknown)}; a short run with --limit 1 tells")
    return told


def _shard(text: str) -> tuple[int, int]:
    """`3/8` as (3, 8)."""
    part, _, of = text.partition("/")
    if not text:
        return 1, 1
    if not (part.isdecimal() and of.isdecimal() and 1 <= int(part) <= int(of)):
        raise UsageError(f"--shard {text!r}: K/N, the K-th of N parts, e.g. 3/8")
    return int(part), int(of)


def _is_run(source: str) -> bool:
    from tedbench.remote import addresses

    return addresses.is_address(source) or Path(source).is_dir()


def _base(source: str | None, fetched: Path | None = None) -> RunConfig:
    """What flags are put on top of: nothing, a file, or what a run was asked, whose local copy may be up to date."""
    from tedbench import config, store
    from tedbench.remote import mirror

    if source is None:
        return config.RunConfig(methods=())
    if _is_run(source):
        folder = fetched or mirror.local(source)
        mirror.check_begun(source, folder)
        return config.from_run(store.open_run(folder).run, folder)
    if not Path(source).exists():
        raise UsageError(f"{source} does not exist; name a TOML file or a run folder, or leave it out and use flags")
    from tedbench import tomlfile

    return tomlfile.read(Path(source))


def _print_ran(ran: Ran, typed: str) -> None:
    more = f", {ran.missing} missing" if ran.missing else ""
    typer.echo(f"{typed}: {ran.ok}/{ran.asked} images, {ran.failed_images} failed{more}")
    if ran.kept or ran.redone:
        again = f", {ran.redone} damaged ones done again" if ran.redone else ""
        typer.echo(f"{ran.kept} sweeps were done before{again}")
    for line in ran.failed:
        typer.echo(f"failed: {line}", err=True)
    if ran.failed_sweeps > len(ran.failed):
        others = ran.failed_sweeps - len(ran.failed)
        typer.echo(f"failed: {others} sweeps more, see {ran.out / 'cells.jsonl'}", err=True)
    if ran.kept_failed:
        typer.echo(
            f"{ran.kept_failed} sweeps failed before and were not tried again; --retry-failed tries them", err=True
        )
