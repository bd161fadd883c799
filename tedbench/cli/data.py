"""`tedbench data`: fetch, verify and list data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tedbench.cli.options import DataOption

data_app = typer.Typer(help="Fetch, verify and list data sets.", no_args_is_help=True, rich_markup_mode=None)


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and where each one is."""
    from tedbench import datasets

    for row in datasets.list_datasets():
        typer.echo(
            f"{row.name:12} {row.pairs or 'any':>5} pairs  {row.images or 'any':>4} images  {row.where}  {row.what}"
        )


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="tedbench")] = "tedbench",
    out: Annotated[Optional[Path], typer.Option("--out", help="Folder to fetch into. Default: the cache.")] = None,  # noqa: UP045
    results: Annotated[bool, typer.Option("--results", help="Also the authors' 100 Imagic results.")] = False,
) -> None:
    """Fetch a data set from its pinned source. Needs the network; goes on where it was cut off."""
    from tedbench import datasets

    folder = out or datasets.default_folder(name)
    for line in datasets.fetch(name, folder, results=results):
        typer.echo(line, err=True)
    typer.echo(f"{name} is in {folder}")


@data_app.command("verify")
def data_verify(
    name: Annotated[str, typer.Argument(help="tedbench")] = "tedbench",
    data: DataOption = None,
) -> None:
    """Name every file of a data set that is missing, extra or altered."""
    from tedbench import datasets

    problems = datasets.verify(name, data)
    for line in problems:
        typer.echo(line)
    if problems:
        raise typer.Exit(3)
    typer.echo(f"{name}: as released")
