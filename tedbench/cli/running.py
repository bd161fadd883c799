"""`tedbench run`: methods over a data set."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tedbench.cli.options import DataOption
from tedbench.cli.stopping import Terminated
from tedbench.errors import UsageError

if TYPE_CHECKING:
    from tedbench.config import RunConfig
    from tedbench.runner import Ran

SHOWN = 10
"""Failures that are named; all of them are in cells.jsonl."""


def run(
    source: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Argument(
            metavar="CONFIG.toml | RUN",
            help="A TOML file that says what to run, or the folder of a run, to go on with it. Flags overrule both.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out", help="Run folder, e.g. results/NAME; an interrupted run there goes on.", show_default=False
        ),
    ] = None,
    method: Annotated[
        list[str],
        typer.Option(
            "--method",
            metavar="SPEC",
            help="NAME, NAME@PRESET, NAME?field=value or module:Class; may be repeated. `tedbench list` shows names.",
            show_default=False,
        ),
    ] = [],  # noqa: B006  (typer copies it)
    dataset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--dataset", metavar="NAME", help="tedbench, tedbench++ or folder. Default: tedbench.", show_default=False
        ),
    ] = None,
    data: DataOption = None,
    source_name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--source",
            metavar="NAME",
            help="folder, or hub: the Hugging Face hub's copy. Default: folder.",
            show_default=False,
        ),
    ] = None,
    captions: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--captions",
            metavar="FILE",
            help="JSON file of source captions, or tedbench-observed: ours. For methods that need them.",
        ),
    ] = None,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--limit", metavar="N", help="Take the first N pairs only; every table will say so.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--seeds", metavar="LIST", help="0,1 or 0:4:1, both ends included. Default: 0.", show_default=False
        ),
    ] = None,
    strengths: Annotated[
        list[str],
        typer.Option(
            "--strengths",
            metavar="RANGE",
            help="0:1:0.1, both ends included, or 0,0.5,1; METHOD=… for one method. Default: each method's own.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Allow strengths beyond a method's range, where it can.")
    ] = False,
    model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--model", metavar="PATH", help="Model folder or hub id, for every method that has one.", show_default=False
        ),
    ] = None,
    device: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps, for every method that has one."
        ),
    ] = None,
    fields: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="field=value for every method that has the field, METHOD.field=value for one; may be repeated.",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Do again what failed in an earlier call on this folder.")
    ] = False,
) -> None:
    """Edit every pair of a data set with one or more methods. What is done is kept: the same call goes on.

    Exit code: 0 if at least one image was made, though others may have failed, 9 if none; others as for all commands.
    """
    from tedbench import config, runner

    flags = config.Flags(
        dataset, data, captions, source_name, limit, seeds, method, strengths, model, device, fields, extrapolate
    )
    home = Path.cwd()
    asked = config.override(_base(source), flags)
    folder = out or (source if source is not None and source.is_dir() else None)
    if folder is None:
        raise UsageError("say where the images go: --out results/NAME")
    try:
        ran = runner.run(asked, folder, ("tedbench", *sys.argv[1:]), retry_failed)
    except KeyboardInterrupt as stop:
        what = "terminated" if isinstance(stop, Terminated) else "interrupted"
        begun = (home / folder / "run.json").exists()  # a method may have gone to another folder
        how = f"what is done is kept, go on with: tedbench run {shlex.quote(str(folder))}" if begun else "nothing begun"
        typer.echo(f"tedbench: {what}; {how}", err=True)
        raise typer.Exit(Terminated.exit_code if isinstance(stop, Terminated) else 130) from None
    _print_ran(ran)
    if ran.ok:
        typer.echo(f"next: tedbench score {shlex.quote(str(folder))} --metrics lpips-alex@256,lpips-alex@512")
    if ran.failed_images:
        whole = f"{ran.failed_images} of {ran.asked} images failed"
        again = f"try them again with: tedbench run {shlex.quote(str(folder))} --retry-failed"
        typer.echo(f"{'PARTIAL' if ran.ok else 'NOTHING MADE'}: {whole}, and tables will say so; {again}", err=True)
    if not ran.ok:
        raise typer.Exit(9)


def _base(source: Path | None) -> RunConfig:
    """What flags are put on top of: nothing, a file, or what a run was asked."""
    from tedbench import config, store

    if source is None:
        return config.RunConfig(methods=())
    if source.is_dir():
        return config.from_run(store.open_run(source).run, source)
    if not source.exists():
        raise UsageError(f"{source} does not exist; name a TOML file or a run folder, or leave it out and use flags")
    from tedbench import tomlfile

    return tomlfile.read(source)


def _print_ran(ran: Ran) -> None:
    missing = ran.asked - ran.ok - ran.failed_images
    more = f", {missing} missing" if missing else ""
    typer.echo(f"{ran.out}: {ran.ok}/{ran.asked} images, {ran.failed_images} failed{more}")
    if ran.kept or ran.redone:
        again = f", {ran.redone} damaged ones done again" if ran.redone else ""
        typer.echo(f"{ran.kept} sweeps were done before{again}")
    for line in ran.failed[:SHOWN]:
        typer.echo(f"failed: {line}", err=True)
    if len(ran.failed) > SHOWN:
        typer.echo(f"failed: {len(ran.failed) - SHOWN} sweeps more, see {ran.out / 'cells.jsonl'}", err=True)
    if ran.kept_failed:
        typer.echo(
            f"{ran.kept_failed} sweeps failed before and were not tried again; --retry-failed tries them", err=True
        )
