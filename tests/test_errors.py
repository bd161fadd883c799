"""Errors say what, what else, what next, in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tedbench import errors
from tedbench.errors import ImageError, TedbenchError, UnknownName, UsageError, short

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, TedbenchError)]


def test_every_class_has_a_docstring_and_an_exit_code_of_its_own() -> None:
    assert all(c.__doc__ for c in CLASSES)
    assert all(1 <= c.exit_code < 126 for c in CLASSES)  # 126 and up are the shell's
    direct = [c for c in CLASSES if TedbenchError in c.__bases__]
    assert len({c.exit_code for c in direct}) == len(direct)


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    error = UnknownName("metric", "psrn", ["ssim", "psnr"])
    assert str(error) == "no metric named 'psrn'. Did you mean 'psnr'? Known: psnr, ssim"
    assert isinstance(error, UsageError)
    assert error.exit_code == 2


def test_an_unknown_name_without_a_near_one_makes_no_guess() -> None:
    assert str(UnknownName("metric", "zzz", ["psnr"])) == "no metric named 'zzz'. Known: psnr"
    assert str(UnknownName("metric", "zzz", [])) == "no metric named 'zzz'. Known: none"


def test_an_unknown_name_takes_a_generator_once() -> None:
    assert "Did you mean 'psnr'? Known: psnr" in str(UnknownName("metric", "psn", (name for name in ["psnr"])))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ImageError("a.png: no"), "a.png: no"),
        (ValueError("bad\nsecond line"), "ValueError: bad"),
        (ValueError("\n\n  third line"), "ValueError: third line"),
        (KeyError(), "KeyError"),
        (ImageError(""), ""),
    ],
)
def test_short_is_the_first_line_that_says_something(error: Exception, expected: str) -> None:
    assert short(error) == expected


def test_short_survives_what_cannot_be_read_or_written() -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert short(Unreadable()) == "Unreadable: (its message cannot be read)"
    assert short(ValueError("half \ud800")) == "ValueError: half ?"


@given(st.text(), st.integers(20, 100))
def test_short_is_one_line_within_its_limit(text: str, limit: int) -> None:
    line = short(ValueError(text), limit)
    assert len(line) <= limit
    assert len(line.splitlines()) == 1
