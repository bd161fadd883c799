"""How much one address or one rater may ask, who is believed to be whom, and that secrets are kept well."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from tedbench.study import admin, limits
from tedbench.study.bundle import Study
from tedbench.study.database import Refused
from tedbench.study.limits import Buckets, Limits, Rate, neighbourhood


@pytest.fixture
def fresh(make_study: Callable[..., Study], tmp_path: Path, served: Callable[..., Any]) -> Iterator[Any]:
    """A server of its own, for what uses up a rate limit."""
    with served(make_study(tmp_path), tmp_path / "answers.sqlite") as one:
        yield one


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60))
def test_a_bucket_gives_no_more_than_its_rate(pauses: list[float]) -> None:
    now, given_at = 0.0, list[float]()
    buckets = Buckets(Rate(5, 2.0), clock=lambda: now)
    for pause in pauses:
        now += pause
        wait = buckets.take("a")
        if not wait:
            given_at.append(now)
        else:
            assert buckets.wait("a") == wait <= 0.5 + 1e-9
    for at, first in enumerate(given_at):
        for many, last in enumerate(given_at[at:], 1):
            assert many <= 5 + 2.0 * (last - first) + 1e-6
    assert buckets.take("another") == 0


def test_buckets_are_bounded_and_the_busy_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST", 100)
    buckets = Buckets(Rate(2, 0.001), clock=lambda: 0.0)
    for n in range(1000):
        buckets.take(f"address {n}")
        buckets.take("busy")
    assert len(buckets._left) <= 100 and buckets.take("busy") > 0


@pytest.mark.parametrize(("a", "b", "same"), [
    ("10.0.0.1", "10.0.0.2", False), ("2001:db8::1", "2001:db8::ffff", True), ("2001:db8::1", "2001:db8:0:1::1", False),
    ("fe80::1%eth0", "fe80::2", True), ("no address", "no address", True),
])  # fmt: skip
def test_a_household_is_one_address(a: str, b: str, same: bool) -> None:
    assert (neighbourhood(a) == neighbourhood(b)) is same


def test_guesses_of_the_admin_token_are_few_and_then_even_the_right_one_waits(fresh: Any) -> None:
    wrong = [fresh.admin("GET", "/admin/api/progress", f"guess-number-{n:04}").status for n in range(14)]
    assert wrong[:10] == [401] * 10 and wrong[-1] == 429
    right = fresh.admin("GET", "/admin/api/progress")
    assert right.status == 429 and int(right.headers["retry-after"]) >= 1
    assert fresh.ask("GET", "/api/study").status == 200


def test_only_the_token_itself_opens_the_admin_api(fresh: Any, helpers: Any) -> None:
    for said in ("", "Bearer", "Bearer ", f"Basic {helpers.ADMIN}", helpers.ADMIN, f"Bearer \xe9{helpers.ADMIN}"):
        got = fresh.ask("GET", "/admin/api/identities.csv", Authorization=said)
        assert got.status == 401 and got.headers["www-authenticate"] == "Bearer", said
    assert fresh.ask("GET", "/admin/api/progress", Authorization=f"bearer {helpers.ADMIN}").status == 200


def test_the_admin_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    spied = SimpleNamespace(compare_digest=lambda a, b: compared.append((a, b)) or hmac.compare_digest(a, b))
    monkeypatch.setattr(admin, "hmac", spied)
    guard = admin.Admin(None, "t" * 16, Limits().admin)
    for said in (b"t" * 16, b"u" * 16):
        scope = {"type": "http", "headers": [(b"authorization", b"Bearer " + said)], "client": ("1.2.3.4", 1)}
        with nullcontext() if said == b"t" * 16 else pytest.raises(Refused):
            asyncio.run(guard._known(Request(scope)))
    assert compared == [(b"t" * 16, b"t" * 16), (b"u" * 16, b"t" * 16)]


def test_unknown_links_and_answers_are_slowed_down_and_others_are_not(fresh: Any) -> None:
    token = fresh.token()
    statuses = [fresh.ask("GET", f"/api/r/guess{n}").status for n in range(90)]
    assert statuses[:60] == [404] * 60 and 429 in statuses[60:]
    assert fresh.start(token="another-guess").status == 429
    assert fresh.state(token)["state"] == "question", "who has a link is not held up by who guesses beside them"
    other = fresh.token()
    request = f"GET /api/r/{token} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    burst = re.findall(rb"HTTP/1.1 (\d+)", fresh.raw(request * 150, wait=2.0))
    assert burst[:30] == [b"200"] * 30 and len(burst) == 150 and b"429" in burst
    assert fresh.state(other)["state"] == "question"


def test_nobody_starts_without_end_nor_by_naming_another_address(fresh: Any) -> None:
    statuses = []
    for n in range(420):
        said = {"consent_version": "0"}  # costs the same, and fills no table
        forwarded = {"X_Forwarded_For": f"10.0.{n // 250}.{n % 250}"}
        statuses.append(fresh.ask("POST", "/api/start", said, **forwarded).status)
    assert statuses[:300] == [409] * 300 and 429 in statuses


def test_a_trusted_proxy_is_believed(
    make_study: Callable[..., Study], tmp_path: Path, served: Callable[..., Any]
) -> None:
    with served(make_study(tmp_path), tmp_path / "answers.sqlite", proxies="127.0.0.1") as one:
        statuses = [one.ask("GET", f"/api/r/g{n}", X_Forwarded_For=f"10.0.0.{n % 2}").status for n in range(110)]
        assert statuses == [404] * 110, "two addresses have sixty each"
        spoofed = [one.ask("GET", f"/api/r/g{n}", X_Forwarded_For=f"9.9.9.{n}, 10.0.0.0").status for n in range(60)]
        assert 429 in spoofed, "the proxy's own word counts, not what was sent to it"


def test_links_are_in_no_log_and_no_database(
    make_study: Callable[..., Study], tmp_path: Path, served: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    study = make_study(tmp_path)
    with served(study, tmp_path / "answers.sqlite") as one:
        token = one.token()
        one.answer(token, 0)
        one.ask("POST", f"/api/r/{token}/answers", b"[" * 9000)
        one.stop()
    assert capfd.readouterr() == ("", "")
    assert not any(token.encode() in path.read_bytes() for path in tmp_path.glob("answers.sqlite*"))
