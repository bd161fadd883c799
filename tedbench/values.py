"""What was typed, or stands in TOML or JSON, becomes a value of a field's type."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from tedbench.errors import PluginError, UsageError, short


def typed(cls: type, options: Mapping[str, Any], spec: str) -> dict[str, Any]:
    """Values of a class's fields, read as their types.

    Args:
        cls: a dataclass that has these fields.
        options: field → value, as it was typed or as TOML and JSON hold it.
        spec: what was asked for, for messages.

    Raises:
        UsageError: if a value cannot be of its field's type.
        PluginError: if the type is one that nothing typed can be.
    """
    from pydantic import TypeAdapter, ValidationError

    typed = {}
    for key, value in options.items():
        try:
            hint = typing.get_type_hints(cls)[key]
            adapter: TypeAdapter[Any] = TypeAdapter(hint)
            if not isinstance(value, str):
                typed[key] = adapter.validate_python(value)
            elif _holds_many(hint) and value.lstrip()[:1] in ("[", "{"):
                typed[key] = adapter.validate_json(value)
            else:
                typed[key] = adapter.validate_strings(value)
        except ValidationError as error:
            hint_json = "; write it as JSON" if isinstance(value, str) and _holds_many(hint) else ""
            raise UsageError(f"{spec!r}: {key}={value!r}: {error.errors()[0]['msg']}{hint_json}") from error
        except Exception as error:  # annotations that do not resolve, or that no text can be read as
            raise PluginError(f"{spec!r}: field {key} cannot be set from text: {short(error)}") from error
    return typed


def _holds_many(hint: Any) -> bool:
    """Whether a type is, or may be, a mapping, a sequence or a set."""
    origin = typing.get_origin(hint) or hint
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return any(_holds_many(part) for part in typing.get_args(hint))
    return isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, str | bytes)
