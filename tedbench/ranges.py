"""Strengths and seeds as people type them: `0:1:0.1`, `0,0.5,1`, or both; ends are included, decimals stay decimals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, TypeVar

from tedbench.errors import UsageError

MOST = 10_000
"""Longest list that is no mistake."""
HOW = "write numbers, as 0,0.5,1, or low:high:step, as 0:1:0.1"
_LARGEST_SEED = 2**63 - 1
_Number = TypeVar("_Number", int, float)


def strengths(value: Any, called: str = "--strengths") -> tuple[float, ...]:
    """A list of strengths, in the order given.

    Args:
        value: comma-separated numbers and ranges `low:high:step`, both ends included; or a number, or a list of them.
        called: what the user calls it, for errors.

    Raises:
        UsageError: for what is no number, not finite, empty, given twice, or a range that does not rise.
    """
    return _unique([float(number) + 0.0 for number in _numbers(value, called)], called)  # + 0.0: no negative zero


def seeds(value: Any, called: str = "--seeds") -> tuple[int, ...]:
    """A list of seeds: whole numbers from 0, written as strengths are.

    Raises:
        UsageError: as `strengths`, and for what is no whole number from 0.
    """
    numbers = _numbers(value, called)
    for number in numbers:
        if number != number.to_integral_value() or not 0 <= number <= _LARGEST_SEED:
            raise UsageError(f"{called}: {number} is no seed; seeds are whole numbers from 0")
    return _unique([int(number) for number in numbers], called)


def shown(strength: float) -> str:
    """A strength as the shortest decimal that is it, and no other float: `0.3`, `1.0`, `1e-05`."""
    return repr(float(strength))


def _numbers(value: Any, called: str) -> list[Decimal]:
    if isinstance(value, str):
        parts: Sequence[Any] = [part.strip() for part in value.split(",")]
    else:
        parts = value if isinstance(value, list | tuple) else [value]
    if not parts or parts == [""]:
        raise UsageError(f"{called} is empty; {HOW}")
    numbers = [number for part in parts for number in _part(part, called)]
    if len(numbers) > MOST:
        raise UsageError(f"{called}: more than {MOST} values; take a larger step")
    return numbers


def _part(part: Any, called: str) -> Iterator[Decimal]:
    if not isinstance(part, str) or ":" not in part:
        yield _decimal(part, called)
        return
    ends = part.split(":")
    if len(ends) != 3:
        raise UsageError(f"{called}: {part!r} is no range; write low:high:step, as 0:1:0.1")
    low, high, step = (_decimal(end, called) for end in ends)
    if step <= 0:
        raise UsageError(f"{called}: {part!r} has the step {step}; it must be above 0")
    if high < low:
        raise UsageError(f"{called}: {part!r} falls; write {ends[1]}:{ends[0]}:{ends[2]}")
    with localcontext() as context:
        context.prec = 700  # sums of what was typed are exact, whatever a float can hold
        if (high - low) / step > MOST:
            raise UsageError(f"{called}: {part!r} has more than {MOST} values; take a larger step")
        count = 0
        while (number := low + count * step) < high:
            yield number
            count += 1
    yield high


def _decimal(text: Any, called: str) -> Decimal:
    try:
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise InvalidOperation
        number = Decimal(str(text).strip())
    except InvalidOperation as error:
        raise UsageError(f"{called}: {text!r} is no number; {HOW}") from error
    if not number.is_finite() or not math.isfinite(float(number)):
        raise UsageError(f"{called}: {text!r} is not finite; {HOW}")
    return number


def _unique(values: list[_Number], called: str) -> tuple[_Number, ...]:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise UsageError(f"{called}: {twice[0]} is given twice; keep one")
    return tuple(values)
