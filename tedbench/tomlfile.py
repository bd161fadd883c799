"""A run written down as TOML, checked whole before anything starts; every mistake is a line with file, line and key."""

from __future__ import annotations

import difflib
import functools
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tedbench import datasets, models, naming, ranges, registry
from tedbench.config import MethodConfig, RunConfig
from tedbench.datasets.manifest import read_text
from tedbench.errors import PluginError, TedbenchError, UsageError, short

T = TypeVar("T")
_Range = str | int | float | list[int | float]


class _Method(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    name: str = Field(min_length=1)
    label: str = ""
    strengths: _Range | None = None


class _Run(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    methods: list[_Method] = Field(min_length=1)
    dataset: str = "tedbench"
    data: str | None = None
    captions: str = ""
    source: str = "folder"
    revision: str = ""
    limit: int | None = Field(default=None, ge=1)
    seeds: str | int | list[int] = 0
    keep_fits: bool = False
    time_limit: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    metrics: list[str] = []
    devices: list[str] = []


def read(path: Path) -> RunConfig:
    """The configuration in a TOML file.

    Raises:
        UsageError: for a file that is no TOML, a key that does not exist, or a value that cannot be.
        DataError: if the file cannot be read.
    """
    text = read_text(path)
    try:
        raw = _Run.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML ({short(error)})") from error
    except ValidationError as error:
        raise UsageError(_told(error, path, text)) from error
    wrong: list[str] = []
    methods = [_collected(wrong, _method, path, text, at, method) for at, method in enumerate(raw.methods)]
    seeds = _collected(wrong, ranges.seeds, raw.seeds, _place(path, text, ("seeds",)))
    for key, check in (("dataset", datasets.check_name), ("source", datasets.check_source), ("metrics", _check_metric),
                       ("devices", models.check_device)):  # fmt: skip
        given = getattr(raw, key)
        for name in given if isinstance(given, list) else [given]:
            _collected(wrong, _placed, check, name, _place(path, text, (key,)))
    if wrong:
        raise UsageError("; ".join(wrong))
    data = Path(_beside(path, raw.data)) if raw.data is not None else None
    captions = _beside(path, raw.captions) if raw.captions else ""
    return RunConfig(
        methods=tuple(one for one in methods if one is not None),
        dataset=raw.dataset,
        data=data,
        captions=captions if Path(captions).exists() else raw.captions,
        source=raw.source,
        revision=raw.revision,
        limit=raw.limit,
        seeds=seeds or (),
        keep_fits=raw.keep_fits,
        time_limit=raw.time_limit,
        metrics=tuple(raw.metrics),
        devices=tuple(raw.devices),
    )


def _check_metric(spec: str) -> None:
    registry.make("metric", spec)


def _placed(check: Callable[[str], None], text: str, place: str) -> None:
    """A check whose error says where."""
    try:
        check(text)
    except TedbenchError as error:
        raise UsageError(f"{place}: {error}") from error


def _collected(wrong: list[str], make: Callable[..., T], *of: Any) -> T | None:
    """What is made, or nothing and one mistake more."""
    try:
        return make(*of)
    except UsageError as error:
        wrong.append(str(error))
        return None


def _method(path: Path, text: str, at: int, raw: _Method) -> MethodConfig:
    where = ("methods", at)
    if raw.label:
        naming.check_label(raw.label, _place(path, text, (*where, "label")))
    strengths = None
    if raw.strengths is not None:
        strengths = ranges.strengths(raw.strengths, _place(path, text, (*where, "strengths")))
    options = {key: _relative(path, value) for key, value in (raw.model_extra or {}).items()}
    _check_fields(raw.name, options, lambda key: _place(path, text, (*where, key)))
    return MethodConfig(raw.name, options, raw.label, strengths, _place(path, text, where))


def _check_fields(spec: str, options: dict[str, Any], place: Callable[[str], str]) -> None:
    """Refuse a method that nobody has, and fields it does not have or of another type; each with its line."""
    try:
        registry.set_by("method", spec)
    except PluginError:  # a module that does not import is no mistake of the file
        return
    except UsageError as error:
        raise UsageError(f"{place('name')}: {error}") from error
    wrong: list[str] = []
    for key, value in options.items():
        _collected(wrong, _placed, lambda _, one=(key, value): registry.check("method", spec, *one), "", place(key))
    if wrong:
        raise UsageError("; ".join(wrong))


def _relative(path: Path, value: Any) -> Any:
    """A value that is written as a path from here, `./x` or `../x`, is one from the file."""
    return _beside(path, value) if isinstance(value, str) and value.startswith(("./", "../")) else value


def _beside(path: Path, name: str) -> str:
    return os.path.normpath(path.parent / Path(name).expanduser())


def _told(error: ValidationError, path: Path, text: str) -> str:
    """Every mistake: place, what is wrong, what else; in the order of the file as far as it is known."""
    found: dict[tuple[Any, ...], str] = {}
    for one in error.errors():
        # Of a value with several types, pydantic names each type; the keys of the file come before them.
        keys = (one["loc"] if one["loc"][0] == "methods" else one["loc"][:1])[:3]
        found.setdefault(keys, _mistake(one, keys, _place(path, text, keys)))
    return "; ".join(found[keys] for keys in sorted(found, key=lambda keys: _line(text, keys)))


def _mistake(one: Any, keys: tuple[Any, ...], place: str) -> str:
    if one["type"] == "extra_forbidden":
        known = sorted(_Run.model_fields)
        close = difflib.get_close_matches(str(keys[0]), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"{place}: no such key.{hint} Known: {', '.join(known)}"
    if one["type"] == "missing":
        hint = "add one [[methods]] table with a name" if keys == ("methods",) else "write one"
        return f"{place}: is missing; {hint}"
    return f"{place}: {one['msg']}, not {str(one['input'])[:60]!r}"


def _place(path: Path, text: str, keys: tuple[Any, ...]) -> str:
    """`FILE, line 3, methods 2 strengths`; without the line where nothing of it is written."""
    shown = " ".join(str(key + 1) if isinstance(key, int) else str(key) for key in keys)
    line = _line(text, keys)
    return f"{path}, line {line}, {shown}" if line else f"{path}, {shown}"


def _line(text: str, keys: tuple[Any, ...]) -> int:
    """The line where a key is written, or else what it would stand in, from 1; 0 where there is neither."""
    begins = _begins(text)
    return next((begins[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in begins), 0)


@functools.lru_cache(maxsize=2)
def _begins(text: str) -> dict[tuple[Any, ...], int]:
    """Keys → the line that each begins in, however it is written: what a file says one statement earlier lacks it."""
    lines, begins, first = text.replace("\r\n", "\n").split("\n"), dict[tuple[Any, ...], int](), 1
    for number in range(1, len(lines) + 1):
        start = "\n".join(lines[:number])
        for end in ("", "\n]"):  # the second is within a list, such as one of inline tables
            try:
                said = tomllib.loads(start + end)
            except tomllib.TOMLDecodeError:
                continue
            for keys in _keys(said):
                begins.setdefault(keys, number if end else first)
            first = first if end else number + 1
            break
    return begins


def _keys(said: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Keys of a file, tables of methods and their keys; a key deeper down belongs to the one that it stands in."""
    for key, value in said.items():
        yield (key,)
        for at, table in enumerate(value if key == "methods" and isinstance(value, list) else []):
            yield key, at
            yield from ((key, at, inner) for inner in (table if isinstance(table, dict) else {}))
