"""The pages of a study: one file each, which reaches for nothing but its own host, and runs no script but ours.

The rater's page is one core (`page/core.js`: a question and its clock) in three settings: behind the server, as a
folder of files, and in MTurk's form. Whatever comes from a study is data in the page, and becomes text, never HTML.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tedbench.report.page import as_json, hash_of
from tedbench.study.bundle import Public

HERE = Path(__file__).parent / "page"
SCRIPTS = {
    "server": ("core.js", "reach.js", "server.js", "rater.js"),
    "static": ("core.js", "static.js", "rater.js"),
    "admin": ("core.js", "reach.js", "admin.js"),
    "mturk": ("core.js", "mturk.js"),
}


@dataclass(frozen=True)
class Page:
    """A page, and the Content-Security-Policy it is to be sent with."""

    html: bytes
    policy: str


def rater(
    public: Public, backend: Literal["server", "static"] = "server", more: Mapping[str, Any] | None = None
) -> Page:
    """What a rater sees: consent, questions, the end.

    Args:
        public: of the study; its questions are not in the page.
        backend: who hands out the questions.
        more: what the static page must know besides, JSON (see `static`).
    """
    return _page(backend, public.title, {**told(public), **(more or {})})


def admin(title: str) -> Page:
    """Progress, downloads, and what a rater may ask for; of no use without the token."""
    return _page("admin", title, {"title": title})


def fragment(data: Mapping[str, Any]) -> bytes:
    """The layout for MTurk's requester site, whose one variable is `${form}`."""
    style, script = _parts("mturk")
    said = as_json(data).replace("$", "\\u0024")  # else MTurk takes it for a variable
    return _render("layout.html.j2", style=style, script=script, data=said)


def told(public: Public) -> dict[str, Any]:
    """What a page says of a study, questions apart."""
    return {
        "title": public.title,
        "study": public.study,
        "consent": public.consent,
        "consent_version": public.consent_version,
        "about": [list(one) for one in public.about],
        "aspects": [dict(one) for one in public.aspects],
        "choices": list(public.choices),
        "words": dict(public.words),
        "screens": public.screens,
        "size": public.size,
    }


def _page(kind: str, title: str, data: Mapping[str, Any]) -> Page:
    style, script = _parts(kind)
    policy = (
        f"default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'sha256-{hash_of(style)}'; "
        f"script-src 'sha256-{hash_of(script)}'; form-action 'none'; base-uri 'none'"
    )
    html = _render("page.html.j2", policy=policy, style=style, script=script, title=title, data=as_json(data))
    return Page(html, f"{policy}; frame-ancestors 'none'")  # which browsers heed in a header alone


def _parts(kind: str) -> tuple[str, str]:
    """Style and script, as they are hashed."""
    text = {name: (HERE / name).read_text(encoding="utf-8") for name in ("page.css", *SCRIPTS[kind])}
    body = "".join(text[name] for name in SCRIPTS[kind])
    return text["page.css"], f'(() => {{\n"use strict";\n{body}}})();\n'


def _render(template: str, title: str = "", **ready: str) -> bytes:
    import jinja2
    from markupsafe import Markup

    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    marked = {name: Markup(text) for name, text in ready.items()}  # ours, or made harmless before
    return environment.get_template(template).render(title=title, **marked).encode()
