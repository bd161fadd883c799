"""`tedbench import`: images made elsewhere become a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tedbench.cli.options import CaptionsOption, DataOption, DatasetOption
from tedbench.errors import UsageError

if TYPE_CHECKING:
    from tedbench.importing import Imported


def import_(
    folder: Annotated[Path, typer.Argument(help="Folder of edited images.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Run folder to make, e.g. results/NAME.", show_default=False)],
    method: Annotated[str, typer.Option("--method", help="What to call the method in tables.", show_default=False)],
    dataset: DatasetOption = "tedbench",
    data: DataOption = None,
    template: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--template",
            help="How files are named; fields img_name, img_stem, text, target_text, uid, image_id, index. "
            "Default: the authors' {img_name}-{text}.png",
            show_default=False,
        ),
    ] = None,
    manifest: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--manifest", help="CSV or JSON with img_name, target_text, file; instead of a template."),
    ] = None,
    published_as: Annotated[
        str,
        typer.Option("--published-as", help="Published method to set it beside (imagic, none …). Default: by name."),
    ] = "",
    source: Annotated[str, typer.Option("--source", help="folder, or hub: the Hugging Face hub's copy.")] = "folder",
    captions: CaptionsOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse the folder if anything is missing, extra or broken.")
    ] = False,
) -> None:
    """Turn a folder of edited images into a run that can be scored."""
    from tedbench import datasets, importing

    if template is not None and not template:
        raise UsageError("--template is empty; leave it out for the authors' rule")
    if template is not None and manifest is not None:
        raise UsageError("--template and --manifest exclude each other; give one")
    origin = importing.Source(folder, method, template or importing.TEDBENCH_TEMPLATE, manifest, published_as, strict)
    loaded = datasets.load(dataset, data, source=source, captions=captions)
    print_imported(importing.import_folder(origin, loaded, out, ("tedbench", *sys.argv[1:])))
    typer.echo(f"next: tedbench score {shlex.quote(str(out))} --metrics lpips-alex@256,lpips-alex@512")


def print_imported(found: Imported) -> None:
    """Say what an import found."""
    whole = "" if found.ok == found.asked else "  PARTIAL: tables will say so"
    typer.echo(f"{found.out}: {found.ok}/{found.asked} pairs have an image{whole}")
    for title, lines in (("missing", found.missing), ("failed", found.failed), ("extra", found.extra)):
        if lines:
            typer.echo(f"{title} ({len(lines)}):", err=True)
            for line in lines:
                typer.echo(f"  {line}", err=True)
