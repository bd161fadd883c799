"""`tedbench study serve, links, export, answers, forget`: raters and what they say."""

from __future__ import annotations

import os
import secrets
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tedbench.errors import UsageError

if TYPE_CHECKING:
    from tedbench.study.bundle import Study

StudyArgument = Annotated[Path, typer.Argument(help="Folder of the study.", show_default=False)]
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="TEDBENCH_STUDY_DATABASE",
        help="SQLite file, or postgresql://user:password@host/name. Default: answers.sqlite in the study's folder.",
    ),
]
TOKEN = "TEDBENCH_STUDY_TOKEN"


def serve(
    study: StudyArgument,
    database: DatabaseOption = "",
    host: Annotated[str, typer.Option("--host", help="Address to listen at; 0.0.0.0 for every one.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 for any that is free.")] = 8000,
    invited: Annotated[
        bool, typer.Option("--invited", help="Only those with a personal link (`tedbench study links`).")
    ] = False,
    behind: Annotated[
        str, typer.Option("--behind", help="Proxies, comma-separated, whose X-Forwarded-For is believed; never *.")
    ] = "",
) -> None:
    """Serve a study's page; answers are kept in a database. Ctrl-C ends it, and it goes on where it was.

    The admin page is at /admin. Its token is TEDBENCH_STUDY_TOKEN, or one that is made and printed at each start.
    """
    from tedbench.study import bundle

    opened = bundle.open_study(study)
    token = os.environ.get(TOKEN, "")
    run_server(opened, database, (host, port), token, open_to_all=not invited, behind=behind)


def run_server(
    study: Study, database: str, at: tuple[str, int], token: str, open_to_all: bool = True, behind: str = "",
    show: bool = False,
) -> None:  # fmt: skip
    """Serve until it is stopped.

    Args:
        study: to be served.
        database: as the option has it.
        at: host and port.
        token: of the admin page; empty for one that is made.
        open_to_all: whether anybody may begin, or only those with a link.
        behind: addresses of proxies, comma-separated.
        show: whether to open the page in a browser.
    """
    from tedbench.study import serving

    made = token or secrets.token_urlsafe(24)

    def ready(url: str) -> None:
        typer.echo(f"raters: {url}/")
        typer.echo(f"admin:  {url}/admin   token: {made if not token else f'that of {TOKEN}'}")
        typer.echo("Ctrl-C ends it; the same command goes on")
        if show:
            webbrowser.open(f"{url}/")

    site = serving.Site(made, *at, open=open_to_all, proxies=behind)
    serving.serve(study, place_of(study, database), site, ready)


def links(
    study: StudyArgument,
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=100_000, help="How many.")],
    base: Annotated[str, typer.Option("--base", help="Where the study is served.")] = "http://127.0.0.1:8000",
    database: DatabaseOption = "",
) -> None:
    """Print personal links, one a line; whoever has one needs no platform. They are shown once."""
    from tedbench.study import bundle
    from tedbench.study import database as databases

    opened = bundle.open_study(study)
    held = databases.open_database(place_of(opened, database), opened)
    for token in held.links(number):
        typer.echo(f"{base.rstrip('/')}/r/{token}")


def export(
    study: StudyArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder to be made.")],
    mturk: Annotated[
        str,
        typer.Option("--mturk", metavar="URL", help="For MTurk: layout.html and input.csv; https address of images/."),
    ] = "",
    forms: Annotated[Optional[int], typer.Option("--forms", help="Default: as many as raters are planned.")] = None,  # noqa: UP045
) -> None:
    """Write pages that need no server: a folder for any web host, or what MTurk's requester site takes."""
    from tedbench import licences
    from tedbench.study import bundle, static

    opened = bundle.open_study(study)
    n = opened.lock.sample.raters if forms is None else forms
    if mturk:
        static.mturk(opened, out, n, mturk)
    else:
        static.export(opened, out, n)
    shared = licences.decide(opened.lock.licence, None)
    if not shared.included:
        typer.echo(f"caution: {shared.why}; whoever puts its pictures on the web answers for it", err=True)
    typer.echo(f"wrote {n} forms in {out}")
    if mturk:
        typer.echo(f"next: put {out / 'images'} at {mturk}; paste layout.html as the layout, upload input.csv")
    else:
        typer.echo(
            f"next: put the folder on a web host; raters open index.html, or index.html?form=N for N = 0 … {n - 1}"
        )


def answers(
    study: StudyArgument,
    out: Annotated[Path, typer.Option("--out", help="CSV to be written.")],
    database: DatabaseOption = "",
    identities: Annotated[
        bool, typer.Option("--identities", help="Platforms' own identifiers and codes instead, for payment.")
    ] = False,
) -> None:
    """Write the answers of a database as CSV."""
    from tedbench import disk
    from tedbench.study import answers as rows
    from tedbench.study import bundle
    from tedbench.study import database as databases

    opened = bundle.open_study(study)
    held = databases.open_database(place_of(opened, database), opened, create=False)
    data = rows.identities_csv(held.identities()) if identities else rows.as_csv(held.answers())
    disk.write_atomic(out, data)
    if identities:
        out.chmod(0o600)
    typer.echo(f"{len(data.splitlines()) - 1} rows in {out}")


def forget(
    study: StudyArgument,
    rater: Annotated[str, typer.Option("--rater", help="Opaque name, as answers have it.")] = "",
    platform: Annotated[str, typer.Option("--platform", help="prolific or mturk; with --identifier.")] = "",
    identifier: Annotated[str, typer.Option("--identifier", help="The platform's name for the rater.")] = "",
    keep: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--export", help="Write all that is held about them here; deletes nothing."),
    ] = None,
    database: DatabaseOption = "",
) -> None:
    """Delete all that is held about one rater, or hand it out. While a study is served, its admin page does it."""
    from tedbench import disk
    from tedbench.study import bundle
    from tedbench.study import database as databases

    if bool(rater) == bool(platform and identifier):
        raise UsageError("name the rater: --rater NAME, or --platform and --identifier")
    opened = bundle.open_study(study)
    held = databases.open_database(place_of(opened, database), opened, create=False)
    name = rater or held.rater_by_identifier(platform, identifier)
    if keep is not None:
        disk.write_json(keep, held.export(name))
        keep.chmod(0o600)
        typer.echo(f"all that is held about {name}: {keep}")
        return
    held.erase(name)
    typer.echo(f"{name}: deleted")


def place_of(study: Study, database: str) -> str:
    """Where a study's answers are."""
    return database or str(study.path / "answers.sqlite")
