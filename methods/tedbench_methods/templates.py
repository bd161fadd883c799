"""Arguments of a call as configuration holds them, with a pair's texts and picture put in.

    {"prompt": "{target_text}", "image": "{image}", "guidance_scale": 7.5}

A text may hold {target_text}, {source_text} and {instruction}; a text that is {image} and nothing else is the picture.
Texts of a pair are put in once and never read as templates themselves. Any other brace is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from tedbench.errors import DataError, UsageError
from tedbench.types import EditPair

TEXTS = ("target_text", "source_text", "instruction")
"""Fields of a pair that a template may name."""
IMAGE = "{image}"
_FIELD = re.compile(r"\{(" + "|".join(TEXTS) + r")\}")


def fields(template: Any) -> frozenset[str]:
    """The texts of a pair that a template names, however deep.

    Raises:
        UsageError: for a brace that is part of no name we know.
    """
    found: set[str] = set()
    for text in _texts(template):
        found |= set(_FIELD.findall(text))
        if text != IMAGE and re.search(r"[{}]", _FIELD.sub("", text)):
            known = ", ".join(f"{{{name}}}" for name in TEXTS)
            raise UsageError(f"{text!r} holds a brace that names nothing; known: {known}, and {IMAGE} alone")
    return frozenset(found)


def texts_of(pair: EditPair, names: frozenset[str]) -> dict[str, str]:
    """The texts of a pair by name.

    Raises:
        DataError: if it lacks one.
    """
    texts: dict[str, str] = {}
    for name in sorted(names):
        text = getattr(pair, name)
        if text is None:
            raise DataError(f"pair {pair.uid!r} has no {name}, which this call reads; give data that has it")
        texts[name] = text
    return texts


def filled(template: Any, texts: Mapping[str, str], image: Image.Image) -> Any:
    """A template with texts and a copy of the picture in it; the template stays as it is."""
    if isinstance(template, str):
        return image.copy() if template == IMAGE else _FIELD.sub(lambda found: texts[found[1]], template)
    if isinstance(template, Mapping):
        return {key: filled(value, texts, image) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, texts, image) for value in template]
    return template


def _texts(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from _texts(value)
    elif isinstance(template, list | tuple):
        for value in template:
            yield from _texts(value)
