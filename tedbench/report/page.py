"""From what a report says to its page and its Markdown. Every foreign text is escaped; scripts are ours alone."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench.report import text
from tedbench.report.figure import Drawn

if TYPE_CHECKING:
    import jinja2

HERE = Path(__file__).parent
MOST_SVG = 800_000
"""Bytes."""


def html(told: Mapping[str, Any], figures: Mapping[str, Drawn]) -> bytes:
    """The page: one file that needs no other, and reaches for nothing.

    Args:
        told: `context.of(…)`.
        figures: by name; SVG is embedded, or PNG where SVG is larger than `MOST_SVG`: each dot is text there.
    """
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # The policy names what may run by its hash: a script that came in through a file name would not.
    allowed = {"style_hash": hash_of(style), "script_hash": hash_of(script)}
    ready = {"style": _Ready(style), "script": _Ready(script), "data": _Ready(as_json(told["album"].data))}
    embedded = {name: as_data(forms) for name, forms in figures.items()}
    return for_html(HERE).get_template("page.html.j2").render(**told, **allowed, **ready, figures=embedded).encode()


def plain_html(folder: Path, template: str, told: Mapping[str, Any], figures: Mapping[str, Drawn]) -> bytes:
    """A page with our style and no script at all.

    Args:
        folder: of templates.
        template: its name; it has `style`, `style_hash` and `figures` besides what is told.
        told: what it says; every text is escaped.
        figures: by name.
    """
    style = (HERE / "page.css").read_text(encoding="utf-8")
    ready = {"style": _Ready(style), "style_hash": hash_of(style)}
    embedded = {name: as_data(forms) for name, forms in figures.items()}
    return for_html(folder).get_template(template).render(**told, **ready, figures=embedded).encode()


def markdown(told: Mapping[str, Any]) -> bytes:
    """The same as Markdown, with figures as files beside it."""
    return for_markdown(HERE).get_template("report.md.j2").render(**told).encode()


def for_html(folder: Path) -> jinja2.Environment:
    """Templates of a folder in which every text is escaped as HTML, and numbers have our filters."""
    import jinja2

    return _with_filters(jinja2.Environment(autoescape=True, finalize=_one_line, **_options(folder)))


def for_markdown(folder: Path) -> jinja2.Environment:
    """The same as Markdown: every expression passes through its escape."""
    import jinja2

    return _with_filters(jinja2.Environment(autoescape=False, finalize=text.markdown, **_options(folder)))


def as_data(forms: Drawn) -> str:
    """A figure as the address of an image in the page itself."""
    kind, mime = ("svg", "svg+xml") if len(forms["svg"]) <= MOST_SVG else ("png", "png")
    return f"data:image/{mime};base64,{base64.b64encode(forms[kind]).decode()}"


class _Ready(str):
    """Text that stands in the page as it is: ours, or made harmless before."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def as_json(data: object) -> str:
    """JSON that no HTML parser reads as the end of a script."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def hash_of(content: str) -> str:
    """What a Content-Security-Policy names a style or script by."""
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def _one_line(value: object) -> object:
    return text.clean(value) if type(value) is str else value  # not what is marked as HTML already


def _options(folder: Path) -> dict[str, Any]:
    import jinja2

    loader = jinja2.FileSystemLoader(folder)
    return {"loader": loader, "undefined": jinja2.StrictUndefined, "trim_blocks": True, "keep_trailing_newline": True}


def _with_filters(environment: jinja2.Environment) -> jinja2.Environment:
    named = {"number": text.number, "signed": text.signed, "interval": text.interval, "strength": _strength,
             "sorted_by": _sorted_by}  # fmt: skip
    environment.filters.update(named)
    return environment


def _strength(value: Any) -> str:
    return text.strength(math.nan if value is None else value)


def _sorted_by(value: Any) -> str:
    """A number as the page sorts by it; empty, and last, where there is none."""
    if value is None or math.isnan(value):
        return ""
    return (
        repr(float(value)) if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
    )  # as JavaScript reads
