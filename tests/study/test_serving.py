"""The server as a browser and whoever runs a study meet it: over HTTP, against both databases."""

from __future__ import annotations

import csv
import io
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tedbench.errors import UsageError
from tedbench.study import bundle, serving
from tedbench.study.bundle import Study
from tedbench.study.database import open_database

NONCE = "n" * 22
SHORT = {"per_rater": {"questions": 6, "repeats": 1, "checks": 1}}


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    if request.param == "sqlite":
        return lambda: str(tmp_path / "answers.sqlite")
    new = request.getfixturevalue("postgres")
    url = new(f"s{abs(hash(str(tmp_path)))}")
    return lambda: url


@pytest.fixture
def study(make_study: Callable[..., Study], tmp_path: Path) -> Study:
    return make_study(tmp_path, **SHORT)


@pytest.fixture
def site(study: Study, place: Callable[[], str], served: Callable[..., Any]) -> Iterator[Any]:
    with served(study, place()) as one:
        yield one


def rows(reply: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(reply.body.decode())))


def test_a_rater_from_consent_to_the_end(site: Any, study: Study) -> None:
    told = site.ask("GET", "/api/study").json
    assert told["open"] is True and told["screens"] == 6
    token = site.token(platform="prolific", identifier="P1", session="S", study="T")
    state, pictures = site.state(token), []
    for slot in range(6):
        assert (state["state"], state["slot"], state["of"]) == ("question", slot, 6)
        assert set(state["screen"]) == {"text", "input", "left", "right"}
        pictures.append(tuple(state["screen"][side] for side in ("left", "right")))
        assert site.state(token) == state, "asking again changes nothing"
        state = site.answer(token, slot, "left", ms=100 + slot).json
    assert state == {"state": "done", "code": study.key.code(study.key.rater("prolific", "P1")), "url": ""}
    assert site.answer(token, 0).json == state
    kept = rows(site.admin("GET", "/admin/api/answers.csv"))
    assert [(int(one["slot"]), int(one["ms"]), one["choice"]) for one in kept] == [
        (slot, 100 + slot, "left") for slot in range(6)
    ]
    for one, (left, right) in zip(kept, pictures, strict=True):
        asked = study.shown[one["question"]]
        assert (left, right) == ((asked.second, asked.first) if one["flipped"] == "1" else (asked.first, asked.second))


def test_an_answer_counts_once_and_the_first_stays(site: Any) -> None:
    token = site.token()
    site.state(token)
    first = site.answer(token, 0, "left")
    again = site.answer(token, 0, "right")
    assert first.status == again.status == 200
    assert first.json == again.json and first.json["slot"] == 1
    assert [(one["slot"], one["choice"]) for one in rows(site.admin("GET", "/admin/api/answers.csv"))] == [
        ("0", "left")
    ]


def test_a_lost_reply_to_the_start_is_healed_by_its_nonce_alone(site: Any) -> None:
    who = {"platform": "prolific", "identifier": "P1"}
    token = site.token(**who, nonce=NONCE)
    assert site.token(**who, nonce=NONCE) == token
    assert site.state(token)["state"] == "question"
    for forged in ({}, {"nonce": "m" * 22}, {"nonce": NONCE.upper()}):
        refused = site.start(**who, **forged)
        assert refused.status == 409 and refused.json["begun"] is True and "token" not in refused.json
    assert site.token(nonce=NONCE) == site.token(nonce=NONCE) != token, "without a platform the nonce is who one is"
    assert site.token() != site.token()
    assert [site.start(nonce=bad).status for bad in ("short", "n" * 65, "n" * 20 + " ")] == [422] * 3


def test_withdrawing_deletes_what_was_said_and_who_one_is(site: Any, study: Study) -> None:
    token = site.token(platform="mturk", identifier="W1")
    site.finish(token)
    assert len(rows(site.admin("GET", "/admin/api/identities.csv"))) == 1
    assert site.ask("POST", f"/api/r/{token}/withdraw", {}).json == {"state": "withdrawn"}
    assert site.state(token) == site.answer(token, 0).json == {"state": "withdrawn"}
    for file in ("answers", "identities"):
        assert rows(site.admin("GET", f"/admin/api/{file}.csv")) == []
    assert site.start(platform="mturk", identifier="W1").status == 409, "nor is one asked again"
    held = site.admin("GET", f"/admin/api/raters/{study.key.rater('mturk', 'W1')}").json
    assert held["raters"][0]["withdrawn"] and not (held["answers"] or held["screens"] or held["identities"])


def test_who_runs_it_sees_exports_and_erases(site: Any, study: Study) -> None:
    done, going = site.token(platform="prolific", identifier="P1"), site.token()
    site.finish(done)
    site.state(going)
    site.answer(going, 0)
    progress = site.admin("GET", "/admin/api/progress").json
    assert {name: progress[name] for name in ("started", "finished", "withdrawn", "active", "answers")} == {
        "started": 2, "finished": 1, "withdrawn": 0, "active": 1, "answers": 7,
    }  # fmt: skip
    paid = rows(site.admin("GET", "/admin/api/identities.csv"))
    name = study.key.rater("prolific", "P1")
    assert [(one["identifier"], one["rater"], one["code"]) for one in paid] == [("P1", name, study.key.code(name))]
    held = site.admin("GET", f"/admin/api/raters/{name}").json
    assert len(held["answers"]) == len(held["screens"]) == 6 and "token_sha256" not in held["raters"][0]
    assert site.admin("DELETE", f"/admin/api/raters/{name}").json == {"erased": name}
    assert site.admin("GET", f"/admin/api/raters/{name}").status == 404
    assert site.ask("GET", f"/api/r/{done}").status == 404
    assert {one["rater"] for one in rows(site.admin("GET", "/admin/api/answers.csv"))}.isdisjoint({name})
    assert site.admin("DELETE", f"/admin/api/raters/{name}").status == 404


def test_a_restart_forgets_nothing(study: Study, place: Callable[[], str], served: Callable[..., Any]) -> None:
    with served(study, place()) as one:
        token = one.token(platform="prolific", identifier="P1", nonce=NONCE)
        one.state(token)
        after = one.answer(token, 0).json
        assert one.stop(signal.SIGTERM) == 0
    with served(study, place()) as one:
        assert one.state(token) == after
        assert one.token(platform="prolific", identifier="P1", nonce=NONCE) == token
        assert one.finish(token)["state"] == "done"
        assert one.stop(signal.SIGINT) == 0


def test_links_made_while_it_runs_work_and_do_not_open_it(
    study: Study, place: Callable[[], str], served: Callable[..., Any]
) -> None:
    with served(study, place(), open=False) as one:
        assert one.ask("GET", "/api/study").json["open"] is False
        assert one.start().status == 403
        database = open_database(place(), study, create=False)
        first, second = database.links(2)
        database.close()
        assert one.state(first) == {"state": "consent"}
        assert one.answer(first, 0).status == 422, "nobody answers before they agree"
        assert one.token(token=first) == one.token(token=first) == first
        assert one.finish(first)["state"] == "done"
        assert one.state(second) == {"state": "consent"}
        assert one.start(token=first, consent_version="2").status == 409


def test_a_full_study_takes_nobody_new_and_lets_others_end(
    make_study: Callable[..., Study], tmp_path: Path, served: Callable[..., Any]
) -> None:
    study = make_study(tmp_path, **SHORT, sample={"raters": 1})
    with served(study, tmp_path / "answers.sqlite") as one:
        first, slow = one.token(), one.token(nonce=NONCE)
        one.finish(first)
        assert one.ask("GET", "/api/study").json["open"] is False
        refused = one.start()
        assert (refused.status, refused.json["state"]) == (409, "closed")
        assert one.token(nonce=NONCE) == slow
        assert one.finish(slow)["state"] == "done"


def test_pictures_are_sent_as_they_are_and_for_good(site: Any, study: Study) -> None:
    for path in sorted((study.path / bundle.IMAGES).iterdir()):
        got = site.ask("GET", f"/images/{path.name}")
        assert got.body == path.read_bytes()
        assert (got.headers["content-type"], "immutable" in got.headers["cache-control"]) == ("image/png", True)


def test_an_address_in_use_is_one_line(study: Study, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site = serving.Site(admin_token="t" * 16, port=port)
        with pytest.raises(UsageError, match=rf"port {port} .*--port") as caught:
            serving.serve(study, tmp_path / "answers.sqlite", site)
    assert "\n" not in str(caught.value)
    for bad in ({"host": "no.such.host.invalid"}, {"port": 70000}, {"admin_token": "t" * 15}):
        with pytest.raises(UsageError):
            serving.serve(study, tmp_path / "answers.sqlite", serving.Site(**{"admin_token": "t" * 16, **bad}))


def test_a_second_server_of_one_study_is_refused(
    site: Any, study: Study, place: Callable[[], str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="served by another process"):
        serving.serve(study, place(), serving.Site(admin_token="t" * 16, port=0))


def test_missing_packages_are_said_in_one_line(tmp_path: Path) -> None:
    code = "import sys; sys.modules['fastapi'] = None\nimport tedbench.study.serving"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("pip install 'tedbench-editing[study]'")
