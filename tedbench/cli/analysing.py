"""`tedbench study analyse`: from answers to preferences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tedbench.cli.asking import DatabaseOption, StudyArgument, place_of
from tedbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from tedbench.study.analysing import Analysis, Options
    from tedbench.study.bundle import Study
    from tedbench.study.importing import Read

OFF = "off"


def analyse(
    study: StudyArgument,
    files: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads the annotation at run time)
        typer.Argument(
            help="CSV files: ours, MTurk's results, Prolific's export. Default: the database.", show_default=False
        ),
    ] = None,
    out: Annotated[Optional[Path], typer.Option("--out", help="Report folder. Default: reports/NAME.")] = None,  # noqa: UP045
    database: DatabaseOption = "",
    primary: Annotated[
        str, typer.Option("--primary", metavar="A:B", help="Another comparison than study.lock's: exploratory.")
    ] = "",
    exclude: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--exclude", metavar="RULE=LIMIT", help="Another limit, or off: exploratory. E.g. failed_checks=2."
        ),
    ] = None,
) -> None:
    """Write what the answers say: preferences with intervals, strengths, raters, agreement; a page, CSV, a figure."""
    from tqdm import tqdm

    from tedbench import report
    from tedbench.study import analysing, bundle, detecting, section

    opened = bundle.open_study(study)
    folder = out or Path("reports", opened.lock.name)
    report.check_place(folder, section.MARKER)
    read, sources = _read(opened, files or [], database)
    if not read.answers:
        raise DataError(
            f"nobody has answered {opened.path} yet; `tedbench study serve` it, or name CSV files of answers"
        )
    options = _options(opened, primary, exclude or [])
    with tqdm(total=3, desc="analyse", unit="part", disable=None) as bar:
        analysis = analysing.analyse(opened, read.answers, options, read.statuses)
        bar.update()
        found = detecting.measure(opened, options.exclusions)
        bar.update()
        section.write(section.Said(opened, analysis, found, sources, read.notes), folder)
        bar.update()
    for note in read.notes:
        typer.echo(f"note: {note}", err=True)
    print_analysis(analysis)
    typer.echo(f"report: {folder / 'index.html'}")


def print_analysis(analysis: Analysis) -> None:
    """The table of preferences, and what to know of it."""
    from tedbench.study import wording

    typer.echo(wording.headline(analysis))
    for line in analysis.departures:
        typer.echo(f"exploratory: {line}")
    rows = (frame.to_dict("records") for frame in (analysis.rates, analysis.rates_all))
    for row, everybody in zip(*rows, strict=True):  # both have a row an aspect and pair, in one order
        ends = f"[{wording.percent(row['low'])}, {wording.percent(row['high'])}]"
        typer.echo(
            f"  {row['aspect']:12} {row['first']} > {row['second']}: {wording.percent(row['mean'])} {ends}, "
            f"{row['n']} answers; nobody excluded {wording.percent(everybody['mean'])}"
        )
    out = analysis.rules[analysis.rules["excluded"] > 0]
    told = ", ".join(f"{row['rule']} {row['excluded']}" for row in out.to_dict("records") if row["rule"] != "any")
    typer.echo(
        f"excluded: {int(analysis.raters['excluded'].sum())} of {len(analysis.raters)} raters ({told or 'by no rule'})"
    )


def _read(study: Study, files: list[Path], database: str) -> tuple[Read, dict[str, int]]:
    from tedbench.study import database as databases
    from tedbench.study import importing

    if files and database:
        raise UsageError("files and --database exclude each other; export the database by `tedbench study answers`")
    if files:
        found = importing.read(files, study)
        return found, {", ".join(path.name for path in files): len(found.answers)}
    held = databases.open_database(place_of(study, database), study, create=False)
    answers = importing.checked(held.answers(), study)
    return importing.Read(answers), {"the study's database": len(answers)}


def _options(study: Study, primary: str, exclude: list[str]) -> Options:
    from tedbench.study.analysing import Options

    parts: tuple[str, ...] | None = tuple(primary.split(":")) if primary else None
    contrast = None
    if parts is not None:
        aspects = [one.name for one in study.lock.asking.aspects]
        first, second, aspect = (*parts, aspects[0])[:3] if len(parts) in (2, 3) else ("", "", "")
        pair = next((pair for pair in study.lock.pairs if set(pair) == {first, second}), None)
        if pair is None or aspect not in aspects:
            known = "; ".join(":".join(pair) for pair in study.lock.pairs)
            raise UsageError(f"--primary {primary!r}: a pair of this study, as A:B or A:B:aspect; known: {known}")
        contrast = (*pair, aspect)
    return Options(_rules(study, exclude), contrast) if exclude or contrast else Options()


def _rules(study: Study, exclude: list[str]) -> Any:
    from tedbench.study import lock

    if not exclude:
        return None
    raw = study.lock.exclusions.model_dump()
    for text in exclude:
        rule, _, limit = text.partition("=")
        if rule not in raw or not limit:
            raise UsageError(f"--exclude {text!r}: RULE=LIMIT or RULE=off; rules: {', '.join(raw)}")
        raw[rule] = _limit(limit) if rule != "unfinished" or limit != OFF else False
    return lock.check({"exclusions": raw}, "--exclude").exclusions


def _limit(text: str) -> Any:
    if text in (OFF, "false"):
        return None
    if text in ("on", "true"):
        return True
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise UsageError(f"--exclude …={text}: a number, on or off") from error
