"""Paths of somebody's machine, out of what is handed on: `…/NAME` stands for one.

A path is shortened that is absolute, begins with ~, or climbs out of where it counts from, since `../../NAME/data` says
as much as an absolute one. Paths that stay inside are left alone. Of an address, a host is left out that has no name in
public, and whoever logs in there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_IN_PATH = r"[^\s'\"<>|;:,()\[\]{}*?`]"
_PATH = re.compile(
    r"(?<![\w.~/…])(?:"
    rf"(?:file://)?/(?!/){_IN_PATH}*/{_IN_PATH}*"  # of two parts at least: a slash alone is no path
    rf"|~[\w.-]*/{_IN_PATH}*"
    rf"|[\w./-]*\.\./{_IN_PATH}*"
    rf"|[A-Za-z]:\\{_IN_PATH}*"
    r")"
)
_WHOLE = re.compile(r"(?:/|~|\.\.(?:/|$)|[A-Za-z]:[\\/]).*")
_ADDRESS = re.compile(
    r"(https?://)(?:[^\s/@]*@[^\s/:]*|\[[^\]\s]*\]|[0-9.]+(?![\w.-])|[\w-]+(?![\w.-])|[\w.-]+\.(?:local|internal|lan)\b)(?::[0-9]+)?"
)
_PEOPLE = ("home", "Users")
"""Folders whose folders are called by people."""


class Shortener:
    """Shortens the texts of JSON values, and remembers where."""

    def __init__(self) -> None:
        self.changed: list[str] = []
        """File and keys of every text that was: `run.json command 3`."""

    def json(self, value: Any, where: str, prose: bool = True) -> Any:
        """A value with its texts shortened.

        Args:
            value: as `json.loads` gives it; it stays as it is.
            where: what to remember it by.
            prose: whether texts hold paths among words; otherwise a text that begins like a path is one, spaces too.
        """
        if isinstance(value, dict):
            return {key: self.json(item, f"{where} {key}", prose) for key, item in value.items()}
        if isinstance(value, list):
            return [self.json(item, f"{where} {at}", prose) for at, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        short = shortened(value, prose)
        if short != value:
            self.changed.append(where)
        return short


def shortened(text: str, prose: bool = True) -> str:
    """A text without paths of a machine; see `Shortener.json`."""
    text = _ADDRESS.sub(r"\1…", text)
    home = str(Path.home())
    if re.search(r"\s", home):  # words end at a space: such a path would be cut in two
        text = text.replace(home, "~")
    if not prose and _WHOLE.fullmatch(text):
        return _last(text)
    return _PATH.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..")]
    name = parts[-1] if parts else ""
    person = (len(parts) > 1 and parts[-2] in _PEOPLE) or name == Path.home().name or name.startswith("~")
    return f"…/{name}" if name and not person else "…"
