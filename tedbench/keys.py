"""What a sweep is by content: the hash of everything that moves its pixels, and of nothing else.

    method    class, code (`sources`), model (its revision), every field but those of `EXECUTION`
    question  uid, which the noise comes from; photo, texts, mask and references by content
    seed

Labels, metrics, devices and the other strengths of a sweep are not in it. Batches and devices may move the last bit of
a pixel; a run records them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tedbench import images, models
from tedbench.errors import DataError
from tedbench.types import EditPair

EXECUTION = ("device", "fits", "batch")
"""Fields that say where and in which portions is computed, and what is kept."""
SHOWN = 8
"""Digits of a key that file names carry."""


def of_method(target: str, code: str, model: str, fields: Mapping[str, Any]) -> str:
    """Hex sha256 of what moves a method's pixels.

    Args:
        target: `module:Class`.
        code: `sources.digest` of the class.
        model: revision of its model, in place of where that lies; empty where the method cannot say it.
        fields: its configuration, as JSON holds it, paths by `of_place`; without the model where its revision is known.
    """
    kept = {name: value for name, value in fields.items() if name not in EXECUTION}
    return _hash([target, code, model, kept])


def of_sweep(method: str, question: str, seed: int) -> str:
    """Hex digest of 32 digits of one method on one pair with one seed.

    Args:
        method: of `of_method`.
        question: of `of_question`.
        seed: of its noise.
    """
    return images.sha256(f"{method} {question} {seed}".encode())[:32]


def of_question(pair: EditPair) -> str:
    """Hex sha256 of all that a method is given of a pair."""
    texts = [pair.target_text, pair.source_text, pair.instruction]
    files = [pair.image.name, pair.image.sha256, pair.mask.sha256 if pair.mask else "",
             *(reference.sha256 for reference in pair.references)]  # fmt: skip
    return _hash([pair.uid, texts, files])


def of_place(path: Path) -> str:
    """Hex digest of a file, or of all files of a folder with their names: a path means another thing elsewhere.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        if path.is_file():
            return models.file_sha256(path)
        inside = sorted(one for one in path.rglob("*") if one.is_file())
        return _hash([[one.relative_to(path).as_posix(), models.file_sha256(one)] for one in inside])
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error


def _hash(content: Any) -> str:
    return images.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode())
