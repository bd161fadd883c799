"""What files and folders are called: the authors' rule, templates, and names that stay where they belong."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NoReturn

from tedbench.errors import DataError, UsageError, short
from tedbench.types import EditPair

TEDBENCH_TEMPLATE = "{img_name}-{text}.png"
"""The authors' rule: `dog.png-A_photo_of_a_dog.png`; `text` drops one final full stop, spaces become _."""
LABEL = frozenset(string.ascii_letters + string.digits + "-_.+")
"""Characters of a name that stands in tables and names a folder."""
LONGEST = 80


def result_text(target_text: str) -> str:
    """A text as it stands in the authors' file names: one final full stop dropped, spaces as _."""
    return target_text.removesuffix(".").replace(" ", "_")


def file_name(
    template: str,
    pair: EditPair,
    index: int | None = 0,
    more: Mapping[str, str | int | float] | None = None,
    called: str = "--template",
) -> str:
    """Fill a naming template for one pair.

    Args:
        template: with `{img_name}`, `{img_stem}`, `{target_text}`, `{text}` (one final full stop dropped, spaces
            as _), `{uid}`, `{image_id}`, `{index}` (from 0; `{index:03d}` works).
        pair: the question.
        index: its place in the data set; None where nobody knows, and `{index}` is no field.
        more: further fields, such as seed and strength (`{strength:.2f}`).
        called: what the user calls the template, for errors.

    Raises:
        UsageError: for a field that does not exist, or a template that cannot be read.
    """
    values: dict[str, str | int | float] = {
        "img_name": pair.image.name,
        "img_stem": PurePosixPath(pair.image.name).stem,
        "target_text": pair.target_text,
        "text": result_text(pair.target_text),
        "uid": pair.uid,
        "image_id": pair.image_id,
        **({} if index is None else {"index": index}),
        **(more or {}),
    }
    try:
        unknown = [field for field in _parsed(template) if field not in values]
        if unknown:
            raise UsageError(f"{called} has no field {{{unknown[0]}}}; known: {', '.join(values)}")
        return template.format(**values)
    except (ValueError, IndexError, KeyError) as error:
        what = f"{called} {template!r} cannot be read ({short(error)}), e.g. {TEDBENCH_TEMPLATE}"
        raise UsageError(what) from error


def fields_of(template: str) -> frozenset[str]:
    """The fields that a template names; none if it cannot be read, which `file_name` reports."""
    try:
        return frozenset(_parsed(template))
    except ValueError:
        return frozenset()


def check_label(name: str, called: str) -> None:
    """Refuse a name of a method that could not name a folder.

    Args:
        name: letters, digits and - _ . + only, not led by a dot, at most 80.
        called: what the user calls it, for the error.

    Raises:
        UsageError: with what is allowed.
    """
    if not name or name.startswith(".") or set(name) - LABEL or len(name) > LONGEST:
        raise UsageError(f"{called} {name!r}: use letters, digits and - _ . + only, at most 80; it names a folder")


def safe_join(folder: Path, name: str) -> Path:
    """`folder / name`, where that stays inside the folder. The file need not exist.

    Raises:
        DataError: for an empty or absolute name, one with `..`, or one that a symbolic link leads out of the folder.
    """

    def refuse(why: str) -> NoReturn:
        raise DataError(f"file name {name!r} {why}; files must lie inside {folder}")

    if not name.strip() or name in {".", "./"}:
        refuse("is empty")
    for flavour in (PurePosixPath(name), PureWindowsPath(name)):
        if flavour.is_absolute() or flavour.drive or flavour.root:
            refuse("is an absolute path")
        if ".." in flavour.parts:
            refuse("goes up with '..'")
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # NUL bytes, link loops, names too long
        raise DataError(f"file name {name!r} cannot be resolved ({short(error)})") from error
    if not inside:
        refuse("leaves the folder by a symbolic link")
    return folder / name


def normal(name: str) -> str:
    """A relative file name without `./` and doubled slashes: one spelling for one file."""
    return PurePosixPath(name).as_posix()


def is_file(path: Path) -> bool:
    """Whether a file is there; a name longer than file systems allow names none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name longer than file systems allow names none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Whether anything is there; a name longer than file systems allow names nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def _parsed(template: str) -> list[str]:
    return [field for _, field, _, _ in string.Formatter().parse(template) if field]
