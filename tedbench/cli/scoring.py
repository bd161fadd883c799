"""`tedbench score` and `tedbench report`: from stored images to tables."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tedbench.cli.options import CaptionsOption, DataOption, RunArgument, here
from tedbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from tedbench.scoring import Scored
    from tedbench.store import RunFolder
    from tedbench.types import Dataset


def score(
    run: RunArgument,
    metrics: Annotated[
        list[str],
        typer.Option(
            "--metrics", help="Comma-separated, e.g. lpips-alex@256,clip-text@ViT-L-14/openai.", show_default=False
        ),
    ],
    data: DataOption = None,
    captions: CaptionsOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    again: Annotated[bool, typer.Option("--again", help="Score also what has been scored.")] = False,
) -> None:
    """Score the images of a run. `tedbench list` shows the metrics."""
    from tedbench import registry, scoring, store
    from tedbench.remote import mirror

    specs = [spec for group in metrics for spec in registry.split(group)]
    if not specs:
        raise UsageError("--metrics is empty; name at least one, e.g. lpips-alex@256")
    with mirror.scoring(run) as folder:
        opened = store.open_run(folder)
        made = scoring.make_metrics(specs, device)
        scored = scoring.score_run(opened, dataset_of(opened, data, captions), made, again)
    print_scored(scored, opened, run)
    typer.echo(f"next: tedbench report {shlex.quote(run)} --out {shlex.quote(f'reports/{folder.resolve().name}')}")


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN...", help="Folders of scored runs, or their addresses.", show_default=False),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Report folder. Default: reports/NAME.", callback=here),
    ] = None,
    rule: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--rule", help="How to choose strengths, e.g. gain@clip-text@MODEL; several, one after another."),
    ] = None,
    against: Annotated[
        str, typer.Option("--against", help="Method that others are compared with. Default: the first with a curve.")
    ] = "",
    primary: Annotated[
        str,
        typer.Option("--primary", help="Metric of the primary comparison. Default: success, else CLIP with the text."),
    ] = "",
    budget: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--budget", help="LPIPS to compare methods at. Default: what --against spends by default."),
    ] = None,
) -> None:
    """Write the report of one or more runs: page, Markdown, tables, figures, beside published numbers."""
    from tedbench import report as reporting
    from tedbench.remote import mirror
    from tedbench.report.compared import Asked

    if budget is not None and not (math.isfinite(budget) and budget >= 0):
        raise UsageError(f"--budget {budget:g} is no LPIPS; give a number from 0")
    asked = Asked(against, primary, math.nan if budget is None else budget)
    folders = [mirror.local(run) for run in runs]
    folder = out or Path("reports", folders[0].resolve().name)
    written = reporting.write_report(folders, folder, rules=rule or (), asked=asked)
    typer.echo(reporting.terminal_table(folders))
    typer.echo(f"wrote {', '.join(path.name for path in written)} in {folder}")


def dataset_of(run: RunFolder, data: Path | None, captions: Path | None) -> Dataset:
    """The data set of a run: as it was recorded, or where the user says it is."""
    from tedbench import datasets

    info = run.run.dataset
    recorded = (run.path / info.location).resolve() if info.location else None
    if data is None and recorded is not None:
        if not recorded.exists():
            raise DataError(f"{recorded}, which this run was made from, is not there any more; say where with --data")
        data = recorded
    source = "hub" if info.source == "hub" else "folder"
    return datasets.load(info.name, data, source, captions, revision=info.revision if source == "hub" else None)


def print_scored(scored: Scored, run: RunFolder, typed: str = "") -> None:
    """Say what a scoring gave of a run, however its user calls it."""
    scores = run.scores()
    for facts in scored.facts:
        values = scores.loc[scores["metric"] == facts.identity, "value"]
        typer.echo(
            f"{facts.spec}: mean {values.mean():.4f} over {values.notna().sum()}/{len(values)}  ({facts.identity})"
        )
        for note in facts.notes:
            typer.echo(f"  note: {note}", err=True)
    cells = run.cell_list()
    missing = sum(cell.status == "missing" for cell in cells)
    if missing and run.run.kind == "run":
        how = f"go on with: tedbench run {shlex.quote(typed or str(run.path))}"
        typer.echo(f"the run is not finished: {missing} of {len(cells)} images are missing; {how}", err=True)
    for spec in scored.skipped:
        typer.echo(f"{spec}: scored before; --again scores it anew")
    for line in scored.failed:
        typer.echo(f"not scored: {line}", err=True)
