"""What somebody who means ill may try at the study's server, over real HTTP; nothing of it may work or stop others."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tedbench.study import serving
from tedbench.study.bundle import Study

SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028"
ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}


@pytest.fixture(scope="module")
def hosted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Study]]:
    """One server for all that leaves its rate limits alone, and its study, whose texts are hostile."""
    helpers = request.getfixturevalue("helpers")
    folder = tmp_path_factory.mktemp("attacked")
    ethics = {"consent": f"Consent {SCRIPT}", "contact": SCRIPT}
    study = helpers.write_study(folder, text=f"a bird {SCRIPT}", title=f"Title {SCRIPT}", ethics=ethics)
    with helpers.serving_of(study, folder / "answers.sqlite") as one:
        yield one, study


@pytest.fixture
def site(hosted: tuple[Any, Study]) -> Any:
    return hosted[0]


@pytest.fixture
def fresh(make_study: Callable[..., Study], tmp_path: Path, served: Callable[..., Any]) -> Iterator[Any]:
    """A server of its own, for what uses up a rate limit."""
    with served(make_study(tmp_path), tmp_path / "answers.sqlite") as one:
        yield one


def rows(site: Any) -> list[dict[str, str]]:
    text = site.admin("GET", "/admin/api/answers.csv").body.decode()
    return list(csv.DictReader(io.StringIO(text)))


def test_links_of_others_cannot_be_guessed_or_had_by_their_identifier(site: Any, hosted: tuple[Any, Study]) -> None:
    study = hosted[1]
    mine = site.token(platform="prolific", identifier="victim", nonce="v" * 22)
    name = study.key.rater("prolific", "victim")
    guesses = [name, study.key.code(name), mine[:-1], mine + "0", mine.upper(), "victim", "0", "%00", "..", "*", "null"]
    for guess in guesses:
        assert site.ask("GET", f"/api/r/{guess}").status in (404, 405), guess
        assert site.ask("POST", f"/api/r/{guess}/withdraw", {}).status in (404, 405), guess
    for nonce in ({}, {"nonce": name[:16]}, {"nonce": "v" * 21}, {"nonce": mine}):
        assert "token" not in site.start(platform="prolific", identifier="victim", **nonce).json
    assert site.start(token=name).status == 404
    assert site.state(mine)["state"] == "question"


def test_an_answer_cannot_be_replayed_changed_or_forged(site: Any) -> None:
    token = site.token()
    state = site.state(token)
    good = {"slot": 0, "choices": {"overall": "left"}, "ms": 10}
    forged: list[Any] = [
        {**good, "slot": slot} for slot in (1, 19, 20, -1, 2**70, 0.0, "0", True, False, None, [0])
    ] + [
        {**good, "choices": choices}
        for choices in (
            {}, {"overall": "same"}, {"overall": "LEFT"}, {"overall": ["left"]}, {"overall": None}, {"text": "left"},
            {"overall": "left", "text": "left"}, ["left"], "left", None, {"overall": "left'; DROP TABLE answers;--"},
        )
    ] + [{**good, "ms": ms} for ms in (-1, 3_600_001, 1.5, "10", None, True, 2**70)]  # fmt: skip
    forged += [{}, {"slot": 0}, [good], "left", 1, None]
    before = len(rows(site))
    for body in forged:
        got = site.ask("POST", f"/api/r/{token}/answers", body)
        assert (got.status, set(got.json)) == (422, {"error"}), body
        time.sleep(0.05)
    assert site.state(token) == state and len(rows(site)) == before
    question = state["screen"]
    first = site.ask("POST", f"/api/r/{token}/answers", {**good, "question": "another", "flipped": True, "rater": "x"})
    for replayed in ({}, {"choices": {"overall": "right"}}, {"ms": 99}):
        again = site.ask("POST", f"/api/r/{token}/answers", {**good, **replayed})
        assert (again.status, again.json) == (200, first.json)
    added = rows(site)[before:]
    assert [(one["slot"], one["choice"], one["ms"]) for one in added] == [("0", "left", "10")]
    assert question != first.json["screen"]


@pytest.mark.parametrize("sent", [
    "/images/../study.json", "/images/..%2fstudy.json", "/images/..%2F..%2Fkey%2Fkey.json", "/images/%2e%2e/study.json",
    "/images/....//study.json", "/images/..%5c..%5ckey%5ckey.json", "/images/%252e%252e%252fstudy.json", "/images/",
    "/images/.", "/images/%00.png", "/images//etc/passwd", "/images/key.json", "/key/key.json", "/study.lock",
    "/public/study.json", "/../study.lock", "/%2e%2e/key/key.json", "/answers.sqlite", "//etc/passwd", "/docs",
    "/openapi.json", "/redoc", "/admin/api", "/admin/", "/api", "/r/", "/r/a/b", "/.git/config",
])  # fmt: skip
def test_nothing_but_pictures_comes_from_the_disk(hosted: tuple[Any, Study], sent: str) -> None:
    site, study = hosted
    for method in (b"GET", b"HEAD", b"POST"):
        got = site.raw(method + b" " + sent.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert re.match(rb"HTTP/1\.1 (404|405) ", got), got[:80]
        assert study.key.secret.encode() not in got and b"root:" not in got


def test_the_key_is_in_nothing_that_raters_get(hosted: tuple[Any, Study]) -> None:
    site, study = hosted
    token = site.token()
    told = [site.ask("GET", path).body for path in ("/", f"/r/{token}", "/admin", "/api/study", f"/api/r/{token}")]
    state = site.state(token)
    names = {one.input for one in study.public.questions}
    assert state["screen"]["input"] in names
    for body in told:
        assert study.key.secret.encode() not in body
        assert not any(one.id.encode() in body for one in study.key.questions), "questions' names tell checks apart"
        assert b"expected" not in body and b"instructed" not in body


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


@pytest.mark.parametrize("path", ["/", "/r/x", "/admin"])
def test_scripts_in_texts_stay_texts(site: Any, path: str) -> None:
    page = site.ask("GET", path)
    tags = Tags(page.body.decode())
    assert tags.tags.count("script") == 2 and "img" not in tags.tags and tags.handlers == []
    policy = page.headers["content-security-policy"]
    scripts = re.search(r"script-src ([^;]*)", policy)
    assert scripts is not None and "unsafe" not in policy and re.fullmatch(r"'sha256-[\w+/=]+'", scripts[1])
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy


def test_texts_come_as_json_that_no_browser_takes_for_a_page(site: Any) -> None:
    got = site.ask("GET", f"/api/r/{site.token()}")
    assert got.headers["content-type"] == "application/json" and got.headers["x-content-type-options"] == "nosniff"


def test_bodies_are_bounded_whatever_they_say_of_themselves(site: Any) -> None:
    path = f"/api/r/{site.token()}/answers"
    assert site.ask("POST", path, b"[" * (16 * 1024 + 1)).status == 413
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    assert site.raw(head + chunk * 64).startswith(b"HTTP/1.1 413 ")
    lies = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".encode() + b" " * 20_000
    assert site.raw(lies).startswith(b"HTTP/1.1 413 ")
    assert site.raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n").startswith(b"HTTP/1.1 4")
    assert site.ask("GET", "/api/study").status == 200


@pytest.mark.parametrize("body", [
    b"", b"{", b"nul", b"\xff\xfe{}", b'{"slot": 0, "choices": {"overall": "\xed\xa0\x80"}}', b"[" * 9000,
    b'{"a":' * 3000, b'{"slot": ' + b"9" * 9000 + b"}", b'{"slot": NaN}', b'{"slot": Infinity, "ms": -Infinity}',
    b'{"slot": 1e999}',
    '{"slot": 0}'.encode("utf-16"), b"\xef\xbb\xbf{}", b"<xml/>", b"slot=0&ms=1",
    b'{"choices": {"\\ud800": "\\udfff"}}', b"\x00" * 100, b'"' + b"a" * 9000 + b'"',
])  # fmt: skip
def test_what_is_no_answer_is_refused_and_breaks_nothing(site: Any, body: bytes) -> None:
    got = site.ask("POST", f"/api/r/{site.token()}/answers", body)
    assert (got.status, set(got.json)) == (422, {"error"})
    begun = site.ask("POST", "/api/start", body)
    assert begun.status in (409, 422) and "error" in begun.json


@pytest.mark.parametrize("text", [
    "'; DROP TABLE raters; --", "' OR '1'='1", "\" OR 1=1 --", "%' UNION SELECT token_sha256 FROM raters --",
    "Robert'); --",
])  # fmt: skip
def test_sql_stays_text(site: Any, text: str) -> None:
    token = site.token(platform="mturk", identifier=text, session=text, study=text)
    assert site.start(platform="mturk", identifier=text).status == 409
    assert text in site.admin("GET", "/admin/api/identities.csv").body.decode().replace('""', '"')
    assert site.start(token=text).status == 404
    quoted = re.sub(r"[^\w]", lambda found: f"%{ord(found[0]):02x}", text)
    assert site.ask("GET", f"/api/r/{quoted}").status == 404
    assert site.admin("GET", f"/admin/api/raters/{quoted}").status == 404
    assert site.admin("DELETE", f"/admin/api/raters/{quoted}").status == 404
    assert site.state(token)["state"] == "question"


@pytest.mark.parametrize("said", [
    {"identifier": "a\x00b"}, {"identifier": "a\nb"}, {"identifier": "x" * 201}, {"session": "\x1b[2J"},
    {"study": "\ud800"}, {"platform": "other"}, {"platform": ""}, {"identifier": ""}, {"nonce": "'" * 20},
    {"session": 1}, {"token": ["x"]}, {"identifier": {"a": 1}},
])  # fmt: skip
def test_identifiers_are_short_printable_texts(site: Any, said: dict[str, Any]) -> None:
    assert site.start(**{"platform": "prolific", "identifier": "P", **said}).status == 422


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x","y")'])
def test_a_formula_in_an_identifier_is_no_formula_in_the_table(site: Any, text: str) -> None:
    site.token(platform="prolific", identifier=text, session=text)
    got = list(csv.DictReader(io.StringIO(site.admin("GET", "/admin/api/identities.csv").body.decode())))
    (row,) = [one for one in got if one["identifier"] == f"'{text}"]
    assert row["session"] == f"'{text}"
    assert not any(value.startswith(("=", "+", "-", "@")) for one in got for value in one.values())


def test_every_kind_of_reply_has_its_headers(hosted: tuple[Any, Study]) -> None:
    site, study = hosted
    token, picture = site.token(), study.public.questions[0].input
    asked = [
        ("GET", "/", 200), ("HEAD", "/", 200), ("GET", f"/r/{token}", 200), ("GET", "/admin", 200),
        ("GET", "/api/study", 200), ("GET", f"/api/r/{token}", 200), ("GET", "/api/r/nobody", 404),
        ("GET", "/none", 404), ("GET", "/favicon.ico", 204), ("GET", "/images/none.png", 404),
        ("GET", f"/images/{picture}", 200),
        ("HEAD", f"/images/{picture}", 200), ("OPTIONS", "/api/start", 405), ("DELETE", f"/api/r/{token}", 405),
        ("PUT", "/api/start", 405), ("TRACE", "/", 405), ("BREW", "/", 405), ("POST", "/api/start", 422),
        ("GET", "/admin/api/progress", 401), ("DELETE", "/admin/api/raters/x", 401),
    ]  # fmt: skip
    for method, path, status in asked:
        got = site.ask(method, path)
        assert got.status == status, (method, path)
        assert {name: got.headers.get(name) for name in ALWAYS} == ALWAYS, (method, path)
        assert "default-src 'none'" in got.headers["content-security-policy"]
        forever = path == f"/images/{picture}"
        assert got.headers["cache-control"] == (serving.FOREVER if forever else "no-store"), (method, path)
        assert not {"server", "x-powered-by", "access-control-allow-origin", "location"} & set(got.headers)


def test_a_failure_has_the_headers_too_and_says_nothing(fresh: Any, tmp_path: Path) -> None:
    (name,) = [json.loads((tmp_path / "study/public/study.json").read_text())["questions"][0]["input"]]
    (tmp_path / "study/public/images" / name).unlink()
    got = fresh.ask("GET", f"/images/{name}")
    assert got.status == 500 and {name: got.headers.get(name) for name in ALWAYS} == ALWAYS
    assert got.headers["cache-control"] == "no-store" and str(tmp_path) not in got.body.decode()
    assert fresh.ask("GET", "/api/study").status == 200


def test_no_site_may_read_a_reply_from_elsewhere(site: Any) -> None:
    got = site.ask("OPTIONS", "/api/start", Origin="https://evil.example", Access_Control_Request_Method="POST")
    assert got.status == 405 and not any(name.startswith("access-control") for name in got.headers)
