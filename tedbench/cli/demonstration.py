"""`tedbench demo`: the whole way, on the best data at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tedbench.cli.importing import print_imported
from tedbench.cli.options import DataOption
from tedbench.cli.scoring import print_scored


def demo(
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out", help="Run folder; an earlier demo there is replaced.")] = Path(
        "results/demo"
    ),
    report_out: Annotated[Path, typer.Option("--report", help="Report folder.")] = Path("reports/demo"),
) -> None:
    """Import, score and report on the best data at hand: TEdBench if it is here, drawn pictures if not."""
    from tedbench import demo as demonstration
    from tedbench import report as reporting
    from tedbench import store

    material = demonstration.find_material(data, Path(f"{out}-drawn"))
    typer.echo(f"demo on {material.what}")
    imported, scored, _ = demonstration.run_demo(material, out, report_out)
    print_imported(imported)
    print_scored(scored, store.open_run(out))
    typer.echo(reporting.terminal_table([out]))
    typer.echo(f"run: {out}\nreport: {report_out / 'index.html'}")
