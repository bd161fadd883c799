"""Paths of somebody's machine, out of what is handed on: `…/NAME` stands for one.

A path is shortened that is absolute, begins with ~, or climbs out of where it counts from, since `../../NAME/data` says
as much as an absolute one. Paths that stay inside are left alone. One in quotes ends where they do, another at the last
of its slashes and the word behind it: a folder may have a name of several words. Of an address, a host is left out that
has no name in public, and whoever logs in there; of a share or a bucket all but the last name.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_LETTER = r"[^\s'\"<>|;:,()\[\]{}*?`]"
_IN_PATH = rf"(?:{_LETTER}|\xa0|(?<=\w)'(?=\w)|\([^\s()]*\)|\[[^\s\[\]]*\]|\{{[^\s{{}}]*\}})"
_WORD = r"[^\s'\"<>|;:,/\\]+"
_ON = rf"(?: (?:{_WORD} ){{0,4}}(?!~|\.\.){_WORD}[/\\]{_IN_PATH}*)*"
"""On over spaces to the next slash that no space precedes: a folder has a name of several words."""
_LOGIN = r"[\w.+-]+@(?!(?:local-dir|hf-hub):)[\w.-]+:(?=[~/]|\.\.|[\w.-]+/)"
_BEGIN = (
    r"(?:file://)?(?:[A-Za-z]:(?:\\|/(?!/))"
    rf"|\\{{2,}}[\w.$-]+\\+|{_LOGIN}|[\w./\\-]*\.\.[/\\]|~[\w.-]*/|/(?!/){_IN_PATH}*/)"  # a slash alone is no path
)
_PATH = re.compile(
    r"(?<![\w.~/\\…])(?:"
    rf"(?<=')(?:{_BEGIN})[^'\n]*(?=')|(?<=\")(?:{_BEGIN})[^\"\n]*(?=\")|(?<=`)(?:{_BEGIN})[^`\n]*(?=`)"
    rf"|{_BEGIN}{_IN_PATH}*{_ON}|~[A-Za-z_][\w.-]*"
    r")"
)
_WHOLE = re.compile(r"(?:/|~|\.\.(?:[/\\]|$)|[A-Za-z]:[\\/]|\\\\).*")
_ADDRESS = re.compile(
    r"(https?://)(?:[^\s/@]*@[^\s/:]*|\[[^\]\s]*\]|[0-9.]+(?![\w.-])|[\w-]+(?![\w.-])|[\w.-]+\.(?:local|internal|lan)\b)(?::[0-9]+)?"
)
_MOUNT = re.compile(r"\b((?:ssh|sftp|scp|ftps?|rsync|smb|cifs|nfs|afp|git|s3|gs|hdfs)://)(?!…)[^\s'\"<>`]*")
_HOST = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}(?=:(?:\s|$))")
"""`ann@gpu7.example.org:`, as ssh begins its errors; a host without a dot could be a preset of a method."""
_PEOPLE = ("home", "Users")
"""Folders whose folders are called by people."""


class Shortener:
    """Shortens the texts of JSON values, and remembers where.

    Args:
        roots: folders whose paths are known to be of this machine, spaces and all.
    """

    def __init__(self, *roots: Path) -> None:
        self.changed: list[str] = []
        """File and keys of every text that was: `run.json command 3`."""
        self._roots = _known(roots)

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
        short = _shortened(value, prose, self._roots)
        if short != value:
            self.changed.append(where)
        return short


def shortened(text: str, prose: bool = True) -> str:
    """A text without paths of a machine; see `Shortener.json`."""
    return _shortened(text, prose, _known(()))


def _known(roots: Iterable[Path]) -> re.Pattern[str]:
    """What finds the folders of this machine that can be told: the user's, this one, that of scratch files."""
    folders = {str(Path(one).absolute()) for one in (Path.home(), Path.cwd(), Path(tempfile.gettempdir()), *roots)}
    whole = sorted((one for one in folders if len(Path(one).parts) > 1), key=len, reverse=True)
    return re.compile(rf"(?<![\w./~…-])(?:file://)?(?:{'|'.join(map(re.escape, whole)) or '(?!)'})(?![\w.-])")


def _shortened(text: str, prose: bool, roots: re.Pattern[str]) -> str:
    if not any(mark in text for mark in "/\\~@"):
        return "…" if text == ".." and not prose else text
    text = _HOST.sub("…", _MOUNT.sub(_mounted, _ADDRESS.sub(r"\1…", text)))
    if not prose and _WHOLE.fullmatch(text):
        return _last(text)
    # A path that goes on from a known folder is one from ~, so that the folder's spaces do not end it.
    text = roots.sub(lambda found: "~" if text[found.end() : found.end() + 1] in ("/", "\\") else "…", text)
    return _PATH.sub(lambda found: _last(found[0]), text)


def _mounted(found: re.Match[str]) -> str:
    place, slash, path = found[0].removeprefix(found[1]).partition("/")
    return found[1] + (_last(f"/{path}") if slash and path else "…" if place or slash else "")


def _last(path: str) -> str:
    path = re.sub(r"^[^/\\]*@[^/\\]*:", "/", path)
    share = re.match(r"\\{2,}[^\\]+\\+[^\\]+$", path)
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..")]
    name = parts[-1] if parts and not share else ""
    person = (len(parts) > 1 and parts[-2] in _PEOPLE) or name == Path.home().name or name.startswith("~")
    return f"…/{name}" if name and not person and not re.fullmatch("[A-Za-z]:", name) else "…"
