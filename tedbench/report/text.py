"""How numbers and foreign text are written: one escape per format, so that no file name can break a table."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "η": r"$\eta$", "∞": r"$\infty$", "–": "--", "×": r"$\times$",
}  # fmt: skip


FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Ready(str):
    """Text that is Markdown already."""

    __slots__ = ()


def clean(text: object) -> str:
    """One line without control characters: they break terminals, XML and tables."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in str(text))


def markdown(value: object) -> str:
    """Foreign text as Markdown that shows it, also inside a table cell."""
    if isinstance(value, Ready):
        return value
    text = re.sub(r"([\\`*_\[\]|~$#])", r"\\\1", clean(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^(\s*)([-+=]+(\s|$))", r"\1\\\2", text)


def cell(value: Any) -> Any:
    """A value of a CSV; text that a spreadsheet would take for a formula stands behind an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def latex(value: object) -> str:
    """Foreign text as LaTeX that shows it."""
    return "".join(_TEX.get(c, c) for c in clean(value))


def number(value: Any, digits: int | None = None) -> str:
    """A number to read: four decimals below 10, two above, unless `digits` says; – where there is none."""
    x = float(value)
    if math.isnan(x):
        return "–"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    return f"{x:.{(4 if abs(x) < 10 else 2) if digits is None else digits}f}".replace("-", "−")


def signed(value: Any, digits: int | None = None) -> str:
    """A difference, with its sign."""
    shown = number(value, digits)
    return shown if shown[0] in "−–" else f"+{shown}"


def interval(row: Any) -> str:
    """The ends of an interval, with as many digits as its mean; – where there is none."""
    digits = 4 if abs(row["mean"]) < 10 else 2
    return "–" if math.isnan(row["low"]) else f"[{number(row['low'], digits)}, {number(row['high'], digits)}]"


def strength(value: Any) -> str:
    """A strength as typed; empty where it was not stated."""
    return "" if value is None or math.isnan(value) else f"{value:g}"


def setting_label(row: Any, table: pd.DataFrame) -> str:
    """Method, with run and strength where the table has more than one."""
    parts = [clean(row["method"])]
    if table["run"].nunique() > 1:
        parts.insert(0, clean(row["run"]))
    if strength(row["strength"]):
        parts.append(strength(row["strength"]))
    return " · ".join(parts)
