"""A name, or module:Class, becomes a class, lazily.

Names live in entry points alone (group `tedbench.metrics` and the like, see `KINDS`); ours come in
through the same door as a stranger's. A spec is `NAME[@VALUE][?field=value&field=value]`: VALUE sets the field that the
class names in `at`, or picks one of its `presets`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tedbench import values
from tedbench.errors import PluginError, TedbenchError, UnknownName, UsageError, short

KINDS = ("metric", "method", "rule", "watcher")


@dataclass(frozen=True)
class Plugin:
    """What is known of a plug-in without importing it."""

    kind: str
    name: str
    target: str
    """`module:Class`."""
    package: str
    version: str


@cache
def plugins(kind: str) -> tuple[Plugin, ...]:
    """All installed plug-ins of a kind (one of `KINDS`), by name.

    Raises:
        PluginError: if two packages claim one name.
    """
    found: dict[str, Plugin] = {}
    for new in _installed():
        old = found.setdefault(new.name, new) if new.kind == kind else new
        if (old.package, old.target) != (new.package, new.target):
            raise PluginError(
                f"two {kind}s are named {new.name!r}: {old.target} of {old.package} and {new.target} of "
                f"{new.package}; uninstall one, or have its author rename it"
            )
    return tuple(sorted(found.values(), key=lambda plugin: plugin.name))


@cache
def _installed() -> tuple[Plugin, ...]:
    """All of every kind: to look through what is installed takes longer than anything else `tedbench list` does."""
    found: list[Plugin] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        if distribution.name in seen:  # an older copy further down sys.path, which Python does not import either
            continue
        seen.add(distribution.name)
        for entry in distribution.entry_points:
            if entry.group.startswith("tedbench."):
                kind = entry.group.removeprefix("tedbench.").removesuffix("s")
                found.append(Plugin(kind, entry.name, entry.value, distribution.name, distribution.version))
    return tuple(found)


def split(text: str) -> list[str]:
    """The specs in a comma-separated list. Spaces before a spec go; at its end they may be part of a value."""
    return [spec.lstrip() for spec in text.split(",") if spec.strip()]


def find(kind: str, name: str) -> Plugin:
    """The plug-in of that name; a `module:Class` names itself.

    Raises:
        UnknownName: with the nearest name that exists.
    """
    if ":" in name:
        return Plugin(kind, name, name, package="", version="")
    by_name = {plugin.name: plugin for plugin in plugins(kind)}
    if name not in by_name:
        raise UnknownName(kind, name, by_name)
    return by_name[name]


def load(plugin: Plugin) -> Any:
    """Import the class behind a plug-in.

    Raises:
        PluginError: naming the plug-in and what went wrong, if it does not import or is not a class.
    """
    module, _, attribute = plugin.target.partition(":")
    of = f" of {plugin.package}" if plugin.package else ""
    try:
        if not plugin.package:
            _look_beside_the_user()
        loaded = resolve(importlib.import_module(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in's import can raise anything, and leave by sys.exit()
        raise PluginError(f"{plugin.kind} {plugin.name!r}{of} does not import: {short(error)}") from error
    if not isinstance(loaded, type):
        raise PluginError(f"{plugin.kind} {plugin.name!r}{of}: {plugin.target} is not a class")
    return loaded


def _look_beside_the_user() -> None:
    # `mine:Metric` means mine.py in the user's folder; a console script has that folder not on its path. Last, so that
    # it shadows nothing; for good, since mine.py may import its neighbour as late as when it edits.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def resolve(module: Any, attribute: str) -> Any:
    """`a.b` of a module: what stands behind the colon of an entry point."""
    for part in attribute.split("."):
        module = getattr(module, part)
    return module


def make(kind: str, spec: str, **overrides: Any) -> Any:
    """Build the object a spec describes.

    Args:
        kind: one of `KINDS`.
        spec: `NAME[@VALUE][?field=value&…]`, NAME a plug-in or `module:Class`.
        overrides: fields to set where the class has them and the spec does not.

    Raises:
        UnknownName, PluginError, UsageError: as the name, the plug-in or the values are at fault.
    """
    return build(kind, spec, {}, **overrides)


def build(kind: str, spec: str, options: Mapping[str, Any], **overrides: Any) -> Any:
    """Build the object that a spec and typed options describe.

    A field is what the spec or `options` say, else what `overrides` say, else what the preset says.

    Args:
        kind: one of `KINDS`.
        spec: as in `make`; `NAME@PRESET` picks a preset of a class that has presets and names no field for the @.
        options: field → value, as TOML or JSON hold it. A text is read as the field's type; for a field that holds
            many things it may be JSON. `preset` picks a preset.
        overrides: fields to set where the class has them and neither spec nor options do.

    Raises:
        UnknownName, PluginError, UsageError: as the name, the plug-in or the values are at fault.
    """
    name, cls = _class_of(kind, spec)
    given, preset = _given(kind, spec, options, cls)
    known = field_names(cls)
    for key in given:
        if key not in known:
            raise UnknownName(f"field of {kind} {name!r}", key, known)
    merged = values.typed(cls, _preset(kind, name, cls, preset), f"{name}@{preset}") if preset is not None else {}
    merged |= {key: value for key, value in overrides.items() if key in known}
    merged |= values.typed(cls, given, spec)
    try:
        return cls(**merged)
    except (TedbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PluginError(f"{kind} {spec!r} cannot be built: {short(error)}") from error


def set_by(kind: str, spec: str) -> tuple[frozenset[str], frozenset[str]]:
    """The fields that the class behind a spec has, and those of them that the spec itself sets.

    Raises:
        UnknownName, PluginError, UsageError: as the name, the plug-in or the spec is at fault.
    """
    _, cls = _class_of(kind, spec)
    return field_names(cls), frozenset(_given(kind, spec, {}, cls)[0])


def check(kind: str, spec: str, key: str, value: Any) -> None:
    """Refuse a field that the class behind a spec does not have, or a value that it cannot take.

    Raises:
        UnknownName, PluginError, UsageError: as key or value are at fault.
    """
    name, cls = _class_of(kind, spec)
    if key == "preset" and "preset" not in field_names(cls) and getattr(cls, "presets", None):
        _preset(kind, name, cls, str(value))
    elif key not in field_names(cls):
        raise UnknownName(f"field of {kind} {name!r}", key, field_names(cls))
    else:
        values.typed(cls, {key: value}, spec)


def picks_preset(kind: str, spec: str) -> bool:
    """Whether a spec picks a preset itself.

    Raises:
        UnknownName, PluginError, UsageError: as the name, the plug-in or the spec is at fault.
    """
    _, cls = _class_of(kind, spec)
    return _given(kind, spec, {}, cls)[1] is not None


def field_names(cls: type[Any]) -> frozenset[str]:
    """The fields that are the configuration of a plug-in's class."""
    return frozenset(field.name for field in dataclasses.fields(cls) if field.init)


def field_values(made: Any) -> dict[str, Any]:
    """Every field of an object that was built, resolved and as JSON holds it: `build` makes an equal one of them.

    Raises:
        PluginError: for a field that JSON cannot hold.
    """
    from pydantic import TypeAdapter

    values = {}
    for name in sorted(field_names(type(made))):
        try:
            adapter = TypeAdapter(typing.get_type_hints(type(made))[name])
            values[name] = adapter.dump_python(getattr(made, name), mode="json", warnings=False)
            json.dumps(values[name], allow_nan=False)
        except Exception as error:
            what = f"{type(made).__name__}: field {name} cannot be kept in JSON: {short(error)}"
            raise PluginError(f"{what}; use text, numbers, lists and mappings") from error
    return values


def _class_of(kind: str, spec: str) -> tuple[str, type[Any]]:
    name = parse(spec)[0]
    cls: type[Any] = load(find(kind, name))
    if not dataclasses.is_dataclass(cls):
        raise PluginError(f"{kind} {name!r}: {cls.__name__} is not a dataclass; its fields are its configuration")
    return name, cls


def _given(kind: str, spec: str, options: Mapping[str, Any], cls: type[Any]) -> tuple[dict[str, Any], str | None]:
    """Fields that spec and options set, and the preset they pick."""
    name, value, given = parse(spec)
    twice = sorted(set(given) & set(options))
    if twice:
        raise UsageError(f"{spec!r} sets {twice[0]} twice: it says {given[twice[0]]}, and again {options[twice[0]]}")
    given = {**given, **options}
    at = getattr(cls, "at", None) or ("preset" if getattr(cls, "presets", None) else None)
    if value is not None:
        if at is None:
            raise UsageError(f"{kind} {name!r} takes no @value; its fields: {_listed(cls)}")
        if at in given:
            raise UsageError(f"{spec!r} sets {at} twice: by @{value} and by {at}={given[at]}; keep one")
        given = {at: value, **given}
    picks = bool(getattr(cls, "presets", None)) and "preset" not in field_names(cls)
    return given, str(given.pop("preset")) if picks and "preset" in given else None


def _preset(kind: str, name: str, cls: type[Any], preset: str) -> Mapping[str, Any]:
    if preset not in cls.presets:
        raise UnknownName(f"preset of {kind} {name!r}", preset, cls.presets)
    fields: Mapping[str, Any] = cls.presets[preset]
    strange = sorted(set(fields) - field_names(cls))
    if strange:
        raise PluginError(f"{kind} {name!r}: preset {preset!r} sets {strange[0]!r}, which is no field: {_listed(cls)}")
    return fields


def _listed(cls: type[Any]) -> str:
    return ", ".join(sorted(field_names(cls))) or "none"


def parse(spec: str) -> tuple[str, str | None, dict[str, str]]:
    """Split a spec into name, value behind the @ (or None) and options.

    Values are percent-decoded, as in a URL and in identities: `%2C` is a comma, `%20` a space, `%25` a percent sign.

    Raises:
        UsageError: if an option has no `=`.
    """
    head, _, query = spec.partition("?")
    name, at, value = head.partition("@")
    options = {}
    for item in query.split("&") if query else []:
        key, equals, text = item.partition("=")
        if not equals:
            raise UsageError(f"{spec!r}: option {item!r} has no value; write {item}=VALUE")
        if key in options:
            raise UsageError(f"{spec!r} sets {key} twice; keep one")
        options[key] = unquote(text)
    if not name or (at and not value):
        raise UsageError(f"{spec!r} is not NAME[@VALUE][?field=value]")
    return name.strip(), unquote(value) if at else None, options
