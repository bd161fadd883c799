"""`tedbench submit`, `verify` and `export`: a run goes out, and another's comes in."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tedbench.cli.keeping import verify_folder
from tedbench.cli.options import CaptionsOption, DataOption, RunArgument, here

if TYPE_CHECKING:
    from tedbench.licences import Decision
    from tedbench.verifying import Check

SHOWN = 5
"""Shortened texts that are named; all of them are in submission.json."""
ImagesOption = Annotated[
    Optional[bool],  # noqa: UP045  (typer reads the annotation at run time)
    typer.Option(
        "--images/--no-images",
        help="Whether edited images go in. Default: where the data set's licence allows it.",
        show_default=False,
    ),
]


def submit(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option("--out", help="Archive to make, e.g. NAME.zip.", callback=here, show_default=False)
    ],
    images: ImagesOption = None,
) -> None:
    """Pack a scored run into one archive that others can verify. Input photos never go in."""
    from tedbench import store, submitting
    from tedbench.remote import mirror

    done = submitting.submit(store.open_run(mirror.local(run)), out, images)
    gaps = f", {done.failed} failed, {done.missing} missing" if done.failed or done.missing else ""
    typer.echo(f"{out}: {done.files} files, {done.cells} cells{gaps}")
    _print_images(done.images)
    for what in done.shortened[:SHOWN]:
        typer.echo(f"path of this machine shortened: {what}")
    if len(done.shortened) > SHOWN:
        typer.echo(f"and {len(done.shortened) - SHOWN} more, see submission.json in it")
    typer.echo(f"next: tedbench verify {shlex.quote(str(out))}")


def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE.zip | RUN",
            help="Of `tedbench submit`; or a run of yours, its folder or address.",
            show_default=False,
        ),
    ],
    data: DataOption = None,
    captions: CaptionsOption = None,
    run: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--run", help="Folder of a run with the images, where the archive has none.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out", help="Unpack it there as a run for `tedbench report`, unless something differs.", callback=here
        ),
    ] = None,
    trust_models: Annotated[
        bool,
        typer.Option(
            "--trust-models",
            help="Let its metrics name models, as NAME/TAG of open_clip or ORG/NAME of a hub, and fetch weights: files "
            "of strangers are then loaded here. Without it nothing is fetched. Folders of yours are never opened.",
        ),
    ] = False,
) -> None:
    """Check a submission: its hashes, its rows, its questions, and every score by scoring its images anew.

    Of a run folder: whether every image, record and row on disk is still what was written; takes no options. Of a run
    at an address, the copy here is looked at, after what was not here has come.

    Verified means, of a submission: these images of these questions have these scores, and every row it lists is
    there; which edits failed, which strengths and seeds were run, and how images were made is the submitter's word.

    Exit code: 0 if everything was confirmed, 10 if something differs or is damaged, 11 if something could not be
    checked here.
    """
    from tedbench.remote import addresses, mirror

    path = mirror.local(what)
    if path.is_dir():
        if addresses.is_address(what):
            typer.echo(f"{what}: looked at in {path}")
        given = {"--data": data, "--captions": captions, "--run": run, "--out": out, "--trust-models": trust_models}
        verify_folder(path, [*(name for name, value in given.items() if value), *["--device"][: device != "auto"]])
        return
    from tedbench import verifying

    if not trust_models:
        os.environ["HF_HUB_OFFLINE"] = "1"  # before the hub's library is imported, which reads it once
    found = verifying.verify(path, verifying.Given(data, captions, run, device, out, trust_models))
    typer.echo(verifying.plain(found.about))
    width = max(len(check.what) for check in found.checks)
    typer.echo(f"{'claim':<{width}}  {'number':>7}  {'largest difference':>18}  verdict")
    for check in found.checks:
        typer.echo(verifying.plain(_line(check, width)))
    if out is not None and out.exists():
        typer.echo(f"unpacked; next: tedbench report {shlex.quote(str(out))}")
    found.confirm()
    typer.echo("verified")


def export(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder to make.", callback=here, show_default=False)],
    form: Annotated[str, typer.Option("--format", help="disk (load_from_disk) or parquet (load_dataset).")] = "disk",
    images: ImagesOption = None,
) -> None:
    """Write a run as a data set of the Hugging Face `datasets` library: a row an image, a column a metric."""
    from tedbench import exporting, store
    from tedbench.remote import mirror

    done = exporting.export(store.open_run(mirror.local(run)), out, form, images)
    typer.echo(f"{out}: {done.rows} rows, {len(done.metrics)} metrics")
    _print_images(done.images)
    load = f"load_from_disk({str(out)!r})" if form == "disk" else f"load_dataset({str(out)!r})"
    typer.echo(f"next, in Python: datasets.{load}")


def _print_images(images: Decision) -> None:
    typer.echo(f"images: {'in' if images.included else 'not in'}; {images.why}")


def _line(check: Check, width: int) -> str:
    number = str(check.rows or "")
    largest = "" if math.isnan(check.largest) else f"{check.largest:.2g}"
    why = f": {check.why}" if check.why else ""
    return f"{check.what:<{width}}  {number:>7}  {largest:>18}  {check.verdict}{why}"
