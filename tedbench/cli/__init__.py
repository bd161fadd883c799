"""The command line: parses, calls, prints. What it imports beyond typer, it imports when a command needs it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tedbench import __version__
from tedbench.cli.checking import check
from tedbench.cli.data import data_app
from tedbench.cli.demonstration import demo
from tedbench.cli.importing import import_
from tedbench.cli.keeping import gc, merge, status
from tedbench.cli.publishing import export, submit, verify
from tedbench.cli.running import plan, run
from tedbench.cli.scoring import report, score
from tedbench.cli.stopping import INTERRUPTED, Stopped, on_sigterm
from tedbench.cli.study import study_app
from tedbench.errors import TedbenchError, short

app = typer.Typer(
    help="TEdBench: score text-based edits of real images, and see the numbers beside what papers print.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    """List installed metrics, methods and rules, and who provides them."""
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


app.add_typer(data_app, name="data")
app.command("check")(check)
app.command("plan")(plan)
app.command("run")(run)
app.command("status")(status)
app.command("merge")(merge)
app.command("gc")(gc)
app.command("import")(import_)
app.command("score")(score)
app.command("report")(report)
app.command("submit")(submit)
app.command("verify")(verify)
app.command("export")(export)
app.add_typer(study_app, name="study")
app.command("demo")(demo)


def main() -> None:
    """Run the command line; errors a user can cause are one line on stderr and a non-zero exit."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = "--debug" in sys.argv[1:]
    on_sigterm()
    try:
        code = app(args=arguments, prog_name="tedbench", standalone_mode=False) or 0
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        code = _say(Stopped("nothing half-written was kept"))
    except BaseException as error:  # sys.exit() in a stranger's code too: it must not look like success
        if (debug and not isinstance(error, Stopped)) or _of_typer(error):
            raise
        code = _say(error)
    sys.exit(code)


def _of_typer(error: BaseException) -> bool:
    """Whether it is typer that ends the process, after it has installed or answered a shell's completion."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    module = str(last.tb_frame.f_globals.get("__name__", "")) if last is not None else ""
    return isinstance(error, SystemExit) and module.partition(".")[0] in ("typer", "click")


def _say(error: BaseException) -> int:
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
