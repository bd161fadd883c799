"""`tedbench study`: from runs to pairs that people judge, and to what they said."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tedbench.cli import analysing, asking
from tedbench.cli.options import DataOption, here
from tedbench.cli.scoring import dataset_of

if TYPE_CHECKING:
    from tedbench.study.building import Built

study_app = typer.Typer(
    help="User studies: two results of one input and text, and which is better (two-alternative forced choice).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Texts = Optional[list[str]]  # noqa: UP045  (typer reads the annotation at run time)
Whole = Optional[int]  # noqa: UP045
DEMO_METHODS = ("imagic", "sdedit", "ddib")


@study_app.command("build")
def build(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs over one data set.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder of the study; it must not be there yet.", callback=here)],
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--config", help="TOML with any key of study.lock; flags go before it."),
    ] = None,
    data: DataOption = None,
    method: Annotated[Texts, typer.Option("--method", help="Who takes part; several. Default: all.")] = None,
    rule: Annotated[
        str, typer.Option("--rule", help="How each strength is chosen. Default: the method's own, as in reports.")
    ] = "",
    primary: Annotated[
        str, typer.Option("--primary", metavar="A:B", help="The comparison it is made for. Default: the first two.")
    ] = "",
    title: Annotated[str, typer.Option("--title", help="What raters read above each page.")] = "",
    wording: Annotated[str, typer.Option("--wording", help="The question. Default: that of Imagic's paper.")] = "",
    split: Annotated[bool, typer.Option("--split", help="Ask twice: of the text, and of what is kept.")] = False,
    allow: Annotated[Texts, typer.Option("--allow", help="Besides left and right: same, neither.")] = None,
    raters: Annotated[Whole, typer.Option("--raters", help="How many. Default: 100.")] = None,
    questions: Annotated[Whole, typer.Option("--questions", help="A rater, all in all. Default: 20.")] = None,
    repeats: Annotated[Whole, typer.Option("--repeats", help="Of these, asked again mirrored. Default: 3.")] = None,
    checks: Annotated[Whole, typer.Option("--checks", help="Of these, with a known answer. Default: 3.")] = None,
    balance: Annotated[str, typer.Option("--balance", help="Equally often: question, or photo.")] = "",
    size: Annotated[
        Whole, typer.Option("--size", help="Side of the pictures. Default: the shortest of a question's.")
    ] = None,
    leave_out: Annotated[Texts, typer.Option("--leave-out", help="Do not ask about: identical, near.")] = None,
    seed: Annotated[Whole, typer.Option("--seed", help="Of sides and orders. Default: 0.")] = None,
) -> None:
    """Make a study of one or more runs: pictures, questions, the key apart, and study.lock, which fixes the design."""
    from tedbench import store
    from tedbench.remote import mirror
    from tedbench.study import building, lock

    raw: dict[str, Any] = lock.choices_from(config) if config else {}
    flags = {
        "methods": method, "rule": rule, "title": title, "balance": balance, "size": size, "leave_out": leave_out,
        "seed": seed, "primary": _primary(primary), "asking.allow": allow, "asking.aspects": _aspects(wording, split),
        "sample.raters": raters, "per_rater.questions": questions, "per_rater.repeats": repeats,
        "per_rater.checks": checks,
    }  # fmt: skip
    for name, value in flags.items():
        if value not in (None, "", []):
            _put(raw, name.split("."), value)
    choices = lock.check(raw, str(config) if config else "study")
    folders = [mirror.local(run) for run in runs]
    dataset = dataset_of(store.open_run(folders[0]), data, None)
    print_built(building.build(folders, dataset, out, choices), out)
    typer.echo(f"next: tedbench study serve {shlex.quote(str(out))}")


@study_app.command("power")
def power(
    photos: Annotated[int, typer.Option("--photos", min=1, help="Different photos in the data set.")],
    rate: Annotated[float, typer.Option("--rate", help="Preference to be told from 50%.")] = 0.6,
    width: Annotated[float, typer.Option("--width", help="Or how far an interval may reach either way.")] = 0.05,
    methods: Annotated[int, typer.Option("--methods", min=2, help="Each pair of them gets as many answers.")] = 2,
    new: Annotated[int, typer.Option("--new", min=1, help="New questions a rater.")] = 14,
    photo: Annotated[float, typer.Option("--photo-correlation", help="Of two answers on one photo.")] = 0.1,
    rater: Annotated[float, typer.Option("--rater-correlation", help="Of two answers of one rater.")] = 0.05,
    excluded: Annotated[float, typer.Option("--excluded", help="Part of the raters expected to be.")] = 0.15,
) -> None:
    """How many answers and raters a preference, or an interval's width, takes; before anything is built."""
    from tedbench.errors import UsageError
    from tedbench.study import power as powers

    if not 0.5 < rate < 1 or not 0 < width < 0.5:
        raise UsageError(
            f"--rate {rate:g} and --width {width:g}: a rate above 0.5 and below 1, a width between 0 and 0.5"
        )
    if not (0 <= photo < 1 and 0 <= rater < 1 and photo + rater < 1 and 0 <= excluded < 1):
        raise UsageError("correlations and --excluded are from 0 to below 1, the correlations together too")
    pairs = methods * (methods - 1) // 2
    design = powers.Design(photos, 1, new / pairs, photo, rater)
    asked = {
        f"{100 * rate:g}% told from 50% with probability {powers.POWER:g}": powers.needed(design, rate),
        f"50% ± {100 * width:g} points": powers.needed_for_width(design, width),
    }
    for what, n in asked.items():
        raters = 0 if n is None else math.ceil(n * pairs / new / (1 - excluded))
        told = f"{n} answers a pair of methods, {raters} raters of {new} new questions" if n else (
            f"no number of answers will do on {photos} photos; ask about more of them")  # fmt: skip
        typer.echo(f"{what}: {told}")


@study_app.command("demo")
def demo(
    run: Annotated[Path, typer.Option("--run", help="The toy world's run; made where there is none.")] = Path(
        "results/demo"
    ),
    out: Annotated[Path, typer.Option("--out", help="Folder of the study.")] = Path("results/demo-study"),
    port: Annotated[int, typer.Option("--port", help="0 for any that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Make a study of the toy world's demonstration, serve it and open it. Answers are kept; it goes on another day."""
    from tedbench import demo as demonstration
    from tedbench import store
    from tedbench.study import building, bundle, lock

    if not demonstration.is_scored(run):
        typer.echo(f"{run}: making the toy world's run first, in minutes")
        demonstration.show_toy(6, run, Path("reports", run.name))
    if not (out / lock.NAME).is_file():
        dataset = dataset_of(store.open_run(run), None, None)
        title = "Which edit of the toy picture is better?"
        told = {"approval": "none is needed: a demonstration on drawn pictures, answered by whoever runs it"}
        choices = lock.check(
            {"methods": list(DEMO_METHODS), "title": title, "sample": {"raters": 20}, "ethics": told}, "demo"
        )
        print_built(building.build([run], dataset, out, choices), out)
    asking.run_server(bundle.open_study(out), "", ("127.0.0.1", port), "", show=browser)


study_app.command("serve")(asking.serve)
study_app.command("links")(asking.links)
study_app.command("export")(asking.export)
study_app.command("answers")(asking.answers)
study_app.command("forget")(asking.forget)
study_app.command("analyse")(analysing.analyse)


def print_built(built: Built, out: Path) -> None:
    """Say what a study is, what it can tell, and what to look at."""
    from tedbench import licences
    from tedbench.study import power

    lock = built.lock
    primary = lock.primary
    sides = "–".join(map(str, dict.fromkeys(built.sides)))
    names = ", ".join(f"{one.label} ({one.strength})" if one.strength else one.label for one in lock.contenders)
    typer.echo(f"{out}: {lock.comparisons} questions on {lock.photos} photos, {sides} px; {names}")
    each = lock.per_rater
    typer.echo(
        f"{lock.sample.raters} raters × {each.questions} screens: {each.new} new, {each.repeats} repeated mirrored, "
        f"{each.checks} checks"
    )
    if primary:
        typer.echo(f"primary comparison: {primary.first} against {primary.second}; all others are exploratory")
    for line in power.told(lock.power):
        typer.echo(line)
    if lock.unasked:
        typer.echo(f"not asked: {lock.unasked} comparisons (see key/key.json); rates are told with and without them")
    for flag, n in built.flagged.items():
        typer.echo(f"{n} questions of {flag} pictures; --leave-out {flag} does not ask them", err=True)
    shared = licences.decide(lock.licence, None)
    if not shared.included:
        typer.echo(f"caution: {shared.why}; whoever shows its pictures to raters answers for it", err=True)
    if not lock.ethics.approval:
        why = "set ethics.approval in --config to its number, or to why none is needed"
        typer.echo(f"caution: no approval is stated; {why}", err=True)


def _put(raw: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = raw.get(name)
        raw = raw.setdefault(name, {}) if inner is None or isinstance(inner, dict) else {}
    raw[path[-1]] = value


def _primary(text: str) -> dict[str, str] | None:
    from tedbench.errors import UsageError

    if not text:
        return None
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(f"--primary {text!r}: two methods, as A:B, or with an aspect, A:B:text")
    return dict(zip(("first", "second", "aspect"), parts, strict=False))


def _aspects(wording: str, split: bool) -> list[dict[str, str]] | None:
    from tedbench.errors import UsageError
    from tedbench.study import lock

    if wording and split:
        raise UsageError(
            "--wording and --split exclude each other; [[asking.aspects]] in --config words several questions"
        )
    if split:
        return [one.model_dump() for one in lock.SPLIT]
    return [{"name": lock.OVERALL, "wording": wording}] if wording else None
