"""The command line: parses, calls, prints. What it imports beyond typer, it imports when a command needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tedbench import __version__
from tedbench.errors import DataError, TedbenchError, UsageError, short

if TYPE_CHECKING:
    from tedbench.importing import Imported
    from tedbench.scoring import Scored
    from tedbench.store import RunFolder
    from tedbench.types import Dataset

app = typer.Typer(
    help="TEdBench: score text-based edits of real images, and see the numbers beside what papers print.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Fetch, verify and list data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data_app, name="data")

DatasetOption = Annotated[str, typer.Option("--dataset", help="tedbench, tedbench++ or folder.")]
DataOption = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
    typer.Option("--data", help="Folder of the data set. Default: TEDBENCH_DATA, then what `data fetch` fetched."),
]
CaptionsOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--captions",
        help="JSON file of source captions, or tedbench-observed: ours. For metrics that need the input described.",
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tedbench {__version__}")
        raise typer.Exit


@app.callback()
def _app(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. Works anywhere.")] = False,
) -> None:
    pass


@app.command("list")
def list_plugins(
    load: Annotated[bool, typer.Option("--load", help="Import each, to see whether it works (slow).")] = False,
) -> None:
    """List installed metrics and methods, and who provides them."""
    from tedbench import registry

    broken = 0
    for kind in registry.KINDS:
        typer.echo(f"{kind}s")
        for plugin in registry.plugins(kind):
            state = ""
            if load:
                try:
                    summary = (registry.load(plugin).__doc__ or "").strip().splitlines()
                    state = "  " + (summary[0] if summary else "")
                except TedbenchError as error:
                    broken += 1
                    state = f"  BROKEN: {error}"
            typer.echo(f"  {plugin.name:20} {plugin.target:44} {plugin.package} {plugin.version}{state}")
    if broken:
        raise typer.Exit(7)


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


@app.command("import")
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
    _print_imported(importing.import_folder(origin, loaded, out, ("tedbench", *sys.argv[1:])))
    typer.echo(f"next: tedbench score {out} --metrics lpips-alex@256,lpips-alex@512")


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="Run folder, e.g. results/NAME.", show_default=False)],
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
    from tedbench import scoring, store

    opened = store.open_run(run)
    specs = [spec for group in metrics for spec in scoring.split_specs(group)]
    if not specs:
        raise UsageError("--metrics is empty; name at least one, e.g. lpips-alex@256")
    made = scoring.make_metrics(specs, device)
    scored = scoring.score_run(opened, _dataset_of(opened, data, captions), made, again)
    _print_scored(scored, opened)
    typer.echo(f"next: tedbench report {run} --out reports/{run.resolve().name}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, scored.", show_default=False)],
    out: Annotated[Optional[Path], typer.Option("--out", help="Report folder. Default: reports/NAME.")] = None,  # noqa: UP045
) -> None:
    """Write the table of one or more runs as HTML, Markdown, CSV and LaTeX, beside published numbers."""
    from tedbench import report as reporting

    folder = out or Path("reports", runs[0].resolve().name)
    written = reporting.write_report(runs, folder)
    typer.echo(reporting.terminal_table(runs))
    typer.echo(f"wrote {', '.join(path.name for path in written)} in {folder}")


@app.command()
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
    _print_imported(imported)
    _print_scored(scored, store.open_run(out))
    typer.echo(reporting.terminal_table([out]))
    typer.echo(f"run: {out}\nreport: {report_out / 'index.html'}")


def main() -> None:
    """Run the command line; errors a user can cause are one line on stderr and a non-zero exit."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = "--debug" in sys.argv[1:]
    try:
        sys.exit(app(args=arguments, prog_name="tedbench", standalone_mode=False) or 0)
    except Exception as error:
        if debug:
            raise
        sys.exit(_say(error))
    except KeyboardInterrupt:
        typer.echo("tedbench: interrupted; nothing half-written was kept", err=True)
        sys.exit(130)


def _say(error: Exception) -> int:
    """Print an error as one line and return its exit code."""
    if isinstance(error, TedbenchError):
        typer.echo(f"tedbench: {' '.join(str(error).split())}", err=True)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    format_message = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(str(error))
        return 2
    if format_message is not None:  # typer's own: a wrong option, a missing argument
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "tedbench"
        typer.echo(f"tedbench: {' '.join(format_message().split())} See `{path} --help`", err=True)
        return int(getattr(error, "exit_code", 2))
    typer.echo(f"tedbench: unexpected {short(error)}; run again with --debug for the traceback", err=True)
    return 1


def _dataset_of(run: RunFolder, data: Path | None, captions: Path | None) -> Dataset:
    from tedbench import datasets

    info = run.run.dataset
    recorded = (run.path / info.location).resolve() if info.location else None
    if data is None and recorded is not None:
        if not recorded.exists():
            raise DataError(f"{recorded}, which this run was made from, is not there any more; say where with --data")
        data = recorded
    source = "hub" if info.source == "hub" else "folder"
    return datasets.load(info.name, data, source, captions, revision=info.revision if source == "hub" else None)


def _print_imported(found: Imported) -> None:
    whole = "" if found.ok == found.asked else "  PARTIAL: tables will say so"
    typer.echo(f"{found.out}: {found.ok}/{found.asked} pairs have an image{whole}")
    for title, lines in (("missing", found.missing), ("failed", found.failed), ("extra", found.extra)):
        if lines:
            typer.echo(f"{title} ({len(lines)}):", err=True)
            for line in lines:
                typer.echo(f"  {line}", err=True)


def _print_scored(scored: Scored, run: RunFolder) -> None:
    scores = run.scores()
    for facts in scored.facts:
        values = scores.loc[scores["metric"] == facts.identity, "value"]
        typer.echo(
            f"{facts.spec}: mean {values.mean():.4f} over {values.notna().sum()}/{len(values)}  ({facts.identity})"
        )
        for note in facts.notes:
            typer.echo(f"  note: {note}", err=True)
    for spec in scored.skipped:
        typer.echo(f"{spec}: scored before; --again scores it anew")
    for line in scored.failed:
        typer.echo(f"not scored: {line}", err=True)
