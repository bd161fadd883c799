"""A study without a server: a folder for any web host, or a batch for MTurk's requester site.

Both give so many raters a form each, the screens that they see, which `allocation.forms` balances; a form that nobody
fills in is a gap. So that forms are used once each, the folder's page takes its number from the address (`?form=7`: a
link for each rater) or asks for it: a number drawn or hashed in the browser would leave some forms out and give others
twice. A crowd whose members have no number belongs behind the server.

    index.html       the page, with its Content-Security-Policy
    forms/7.json     screens of rater 7: question, flipped, text, input, left, right
    images/X.png     the pictures

    layout.html      for MTurk: the project's HTML
    input.csv        for MTurk: a row, and thus a task, a form
    images/X.png     to be put where `images_url` says

Names of questions and pictures say nothing, and what is a check is not told. Answers come back as a file of each
rater, or as MTurk's results; `importing.read` reads both. A platform's identifier stands in a rater's file as a hash,
against which whoever has the study's tag can check guesses.
"""

from __future__ import annotations

import base64
import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tedbench import disk
from tedbench.errors import UsageError
from tedbench.report.page import as_json
from tedbench.study import allocation, bundle, pages
from tedbench.study.allocation import Screen
from tedbench.study.answers import COLUMNS
from tedbench.study.bundle import Study

LARGEST = 60_000
"""Bytes of a task of MTurk's, form filled in; its limit of 65,535 counts what it wraps round the page too
(CreateHIT, parameter Question)."""


def export(study: Study, out: Path, raters: int) -> None:
    """Write a folder that any web host can serve, whole or not at all; it works in a sub-folder of a site.

    Args:
        study: opened.
        out: the folder to make; it may be there if it is empty.
        raters: how many forms to make, numbered from 1.

    Raises:
        UsageError: if `out` holds something, or `raters` is not positive.
        StoreError: if the disk is full or read-only, or a picture cannot be read.
    """
    forms = _forms(study, raters)
    code = study.lock.completion.code
    url = study.lock.completion.url.replace("{code}", code)
    more = {"forms": raters, "columns": COLUMNS, "code": code, "url": url}
    files = {f"forms/{number}.json": as_json(form).encode() for number, form in enumerate(forms, start=1)}
    files["index.html"] = pages.rater(study.public, "static", more).html
    _write(study, out, files, forms)


def mturk(study: Study, out: Path, raters: int, images_url: str) -> None:
    """Write what MTurk's requester site takes: a layout and a batch, and the pictures to put on the web.

    Args:
        study: opened.
        out: the folder to make; it may be there if it is empty.
        raters: how many tasks to make; let each be done by one worker.
        images_url: where the pictures will be, `https://example.org/pictures/`.

    Raises:
        UsageError: if `out` holds something, `raters` is not positive, `images_url` is no https address, or a task
            would be larger than MTurk takes.
        StoreError: if the disk is full or read-only, or a picture cannot be read.
    """
    base = _address(images_url)
    forms = _forms(study, raters)
    layout = pages.fragment({**pages.told(study.public), "images": base})
    cells = [_cell(form) for form in forms]
    largest = len(layout) + max(map(len, cells))
    if largest > LARGEST:
        raise UsageError(f"a task would have {largest} bytes, and MTurk takes {LARGEST}; ask fewer questions a rater")
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([["form"], *([cell] for cell in cells)])
    _write(study, out, {"layout.html": layout, "input.csv": table.getvalue().encode()}, forms)


def _forms(study: Study, raters: int) -> list[list[dict[str, Any]]]:
    """The screens of every rater, as their pages take them."""
    if raters < 1:
        raise UsageError(f"{raters} raters; at least one is needed")
    drawn = allocation.forms(study.lock.seed, study.lock.per_rater, study.key.questions, raters)
    return [[_screen(study, slot, screen) for slot, screen in enumerate(form)] for form in drawn]


def _screen(study: Study, slot: int, screen: Screen) -> dict[str, Any]:
    one = study.shown[screen.question]
    left, right = (one.second, one.first) if screen.flipped else (one.first, one.second)
    told = {"slot": slot, "question": one.id, "flipped": screen.flipped, "text": one.text}
    return {**told, "input": one.input, "left": left, "right": right}


def _cell(form: Sequence[dict[str, Any]]) -> str:
    """As base64url without padding, which neither CSV nor HTML nor MTurk's templates read anything into."""
    return base64.urlsafe_b64encode(as_json(form).encode()).decode().rstrip("=")


def _address(images_url: str) -> str:
    """A base address with its final slash."""
    try:
        parts = urlsplit(images_url)
        good = parts.scheme == "https" and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"{images_url!r} is no address for pictures; give one such as https://example.org/pictures/")
    return images_url.rstrip("/") + "/"


def _write(study: Study, out: Path, files: dict[str, bytes], forms: Iterable[list[dict[str, Any]]]) -> None:
    """All files and the pictures of the forms."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists already and is not empty; choose another folder, or empty it first")
    names = {screen[which] for form in forms for screen in form for which in ("input", "left", "right")}
    with disk.new_folder(out, replace=True) as scratch:
        for name in {str(Path(one).parent) for one in files} | {"images"}:
            (scratch / name).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        for name in sorted(names):
            shutil.copyfile(study.path / bundle.IMAGES / name, scratch / "images" / name)
