"""`tedbench demo`: the whole way, on the toy world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tedbench.cli.importing import print_imported
from tedbench.cli.options import DataOption
from tedbench.cli.scoring import print_scored


def demo(
    data: DataOption = None,
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", help="Questions of the toy world to edit live.")] = 6,
    out: Annotated[Path, typer.Option("--out", help="Run folder; an earlier demo there is replaced.")] = Path(
        "results/demo"
    ),
    report_out: Annotated[Path, typer.Option("--report", help="Report folder.")] = Path("reports/demo"),
) -> None:
    """Edit toy pictures with every method, score and report; all on this machine, in minutes.

    With --data, or TEDBENCH_DATA, score and report the results that TEdBench's authors released instead.
    """
    from tedbench import demo as demonstration
    from tedbench import report as reporting
    from tedbench import store

    folder = demonstration.released(data)
    if folder is None:
        typer.echo(f"demo: {len(demonstration.METHODS)} methods on {pairs} questions of the toy world, on the CPU")
        reference = demonstration.REFERENCE if demonstration.is_scored(demonstration.REFERENCE) else None
        scored = demonstration.show_toy(pairs, out, report_out, reference)
    else:
        typer.echo(f"demo on the results that TEdBench's authors released, in {folder}")
        imported, scored = demonstration.show_released(folder, out, report_out)
        print_imported(imported)
    print_scored(scored, store.open_run(out))
    typer.echo(reporting.terminal_table([out]))
    if folder is None:
        what = "beside them in the report" if reference else "no scored run there; the report has the live ones only"
        typer.echo(f"the whole test split, {demonstration.REFERENCE}: {what}")
    typer.echo(f"run: {out}\nreport: {report_out / 'index.html'}")
