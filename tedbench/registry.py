"""A name, or module:Class, becomes a class, lazily.

Names live in entry points alone (groups `tedbench.metrics` and `tedbench.methods`); ours come in through the same door
as a stranger's. A spec is `NAME[@VALUE][?field=value&field=value]`: VALUE sets the field that the class names in `at`.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import sys
import typing
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tedbench.errors import PluginError, TedbenchError, UnknownName, UsageError, short

KINDS = ("metric", "method")


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
    """All installed plug-ins of a kind (`metric` or `method`), by name.

    Raises:
        PluginError: if two packages claim one name.
    """
    found: dict[str, Plugin] = {}
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        if distribution.name in seen:  # an older copy further down sys.path, which Python does not import either
            continue
        seen.add(distribution.name)
        for entry in distribution.entry_points.select(group=f"tedbench.{kind}s"):
            new = Plugin(kind, entry.name, entry.value, distribution.name, distribution.version)
            old = found.setdefault(new.name, new)
            if (old.package, old.target) != (new.package, new.target):
                raise PluginError(
                    f"two {kind}s are named {new.name!r}: {old.target} of {old.package} and {new.target} of "
                    f"{new.package}; uninstall one, or have its author rename it"
                )
    return tuple(sorted(found.values(), key=lambda plugin: plugin.name))


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
        with _beside_the_user() if not plugin.package else nullcontext():
            loaded = resolve(importlib.import_module(module), attribute)
    except Exception as error:  # a plug-in's import can raise anything
        raise PluginError(f"{plugin.kind} {plugin.name!r}{of} does not import: {short(error)}") from error
    if not isinstance(loaded, type):
        raise PluginError(f"{plugin.kind} {plugin.name!r}{of}: {plugin.target} is not a class")
    return loaded


@contextmanager
def _beside_the_user() -> Iterator[None]:
    # `mine:Metric` means mine.py in the user's folder; a console script has that folder not on its path. Last, so that
    # it shadows nothing.
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def resolve(module: Any, attribute: str) -> Any:
    """`a.b` of a module: what stands behind the colon of an entry point."""
    for part in attribute.split("."):
        module = getattr(module, part)
    return module


def make(kind: str, spec: str, **overrides: Any) -> Any:
    """Build the object a spec describes.

    Args:
        kind: `metric` or `method`.
        spec: `NAME[@VALUE][?field=value&…]`, NAME a plug-in or `module:Class`.
        overrides: fields to set where the class has them and the spec does not.

    Raises:
        UnknownName, PluginError, UsageError: as the name, the plug-in or the values are at fault.
    """
    name, value, options = parse(spec)
    cls: type[Any] = load(find(kind, name))
    if not dataclasses.is_dataclass(cls):
        raise PluginError(f"{kind} {name!r}: {cls.__name__} is not a dataclass; its fields are its configuration")
    fields = {f.name for f in dataclasses.fields(cls) if f.init}
    if value is not None:
        at = getattr(cls, "at", None)
        if at is None:
            raise UsageError(f"{kind} {name!r} takes no @value; its fields: {', '.join(sorted(fields)) or 'none'}")
        if at in options:
            raise UsageError(f"{spec!r} sets {at} twice: by @{value} and by {at}={options[at]}; keep one")
        options = {at: value, **options}
    for key in options:
        if key not in fields:
            raise UnknownName(f"field of {kind} {name!r}", key, fields)
    merged = {key: v for key, v in overrides.items() if key in fields and key not in options}
    merged |= _typed(cls, options, spec)
    try:
        return cls(**merged)
    except TedbenchError:
        raise
    except Exception as error:
        raise PluginError(f"{kind} {spec!r} cannot be built: {short(error)}") from error


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


def _typed(cls: type, options: dict[str, str], spec: str) -> dict[str, Any]:
    from pydantic import TypeAdapter, ValidationError

    typed = {}
    for key, text in options.items():
        try:
            typed[key] = TypeAdapter(typing.get_type_hints(cls)[key]).validate_strings(text)
        except ValidationError as error:
            raise UsageError(f"{spec!r}: {key}={text!r}: {error.errors()[0]['msg']}") from error
        except Exception as error:  # annotations that do not resolve, or that no text can be read as
            raise PluginError(f"{spec!r}: field {key} cannot be set from text: {short(error)}") from error
    return typed
