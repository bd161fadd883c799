"""What a worker does, wherever it works: fit a pair, edit it at some strengths, check what came, and say it in bytes.

Whatever a method raises becomes words. A worker knows nothing of folders of runs: who asked it writes.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tedbench import disk, facts, images, memory
from tedbench.contenders import Contender
from tedbench.errors import ImageError, PluginError, short
from tedbench.types import EditPair

NO_MEMORY = ("MemoryError", "OutOfMemoryError")
"""Names of the errors that mean it, Python's and torch's."""
TRACE = 100_000
"""Characters of a traceback that are kept, its end: a message can be of any length, and records are many."""


@dataclass(frozen=True)
class Outcome:
    """What one sweep gave."""

    strengths: tuple[float, ...]
    images: tuple[bytes | None, ...]
    """PNG, or None where there is none."""
    errors: tuple[str, ...]
    """Why; empty where there is an image."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the method noted, as JSON holds it."""
    traceback: str = ""
    fit_seconds: float | None = None
    edit_seconds: float | None = None
    """Of all strengths together."""
    peak: memory.Peak = field(default_factory=lambda: memory.Peak(None, None))

    @property
    def failed(self) -> int:
        """Images that are not there."""
        return sum(data is None for data in self.images)


def lost(strengths: Sequence[float], why: str, trace: str = "", noted: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of a sweep of which nothing came."""
    n = len(strengths)
    return Outcome(tuple(strengths), (None,) * n, (why,) * n, kept(noted or {}), _text(trace[-TRACE:]))


def do(contender: Contender, pair: EditPair, seed: int, strengths: Sequence[float]) -> Outcome:
    """Do one sweep.

    Raises:
        KeyboardInterrupt: as it comes.
        BaseException: whatever the method raises in a copy of the process that it forked.
    """
    here = os.getpid()
    with facts.noted() as noted:
        try:
            return _done(contender, pair, seed, strengths, noted)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a method can raise anything, `sys.exit()` too; the run goes on
            if os.getpid() != here:  # in a copy that the method forked, which ends as it would anywhere
                raise
            return lost(strengths, short(error), "".join(traceback.format_exception(error)), noted)


def prepared(contender: Contender) -> dict[str, Any]:
    """Have a method load what it needs.

    Returns:
        What it noted, as JSON holds it: its model, device and so on.

    Raises:
        TedbenchError: as a model, device or network is at fault, and for whatever else a method raises.
    """
    from tedbench import contenders

    return kept(contenders.prepare([contender])[contender.label])


def _done(
    contender: Contender, pair: EditPair, seed: int, strengths: Sequence[float], noted: Mapping[str, Any]
) -> Outcome:
    method = contender.method
    with contextlib.chdir("."):  # comes back here, wherever the method goes: the next photo's path may be relative
        forgotten, started = memory.forget(), time.perf_counter()
        state = method.fit(pair, seed)
        fitted = time.perf_counter()
        edits = _edited(method, pair, state, tuple(strengths), seed)
        edited = time.perf_counter()
        peak = memory.peak(forgotten)
    made = [_checked(edit, pair, [other for other in edits if other is not edit]) for edit in edits]
    # A fit that was looked up says what making it took; finding it is no measure of a method.
    said = noted.get("fit_seconds")
    fit_seconds = said if isinstance(said, float) else fitted - started
    pngs, errors = tuple(data for data, _ in made), tuple(error for _, error in made)
    return Outcome(tuple(strengths), pngs, errors, kept(noted), "", fit_seconds, edited - fitted, peak)


def _edited(method: Any, pair: EditPair, state: Any, strengths: tuple[float, ...], seed: int) -> list[Any]:
    """All strengths at once; where memory runs out, half of them at a time, and so on down to one."""
    try:
        edits = list(method.edit(pair, state, strengths, seed))
    except Exception as error:
        if len(strengths) == 1 or not any(kind.__name__ in NO_MEMORY for kind in type(error).__mro__):
            raise
        failed = True
    else:
        failed = False
    if failed:  # outside of the handler, whose traceback holds what the method had in memory
        gc.collect()
        facts.note(split_for_memory=len(strengths))
        half = (len(strengths) + 1) // 2
        parts = (strengths[:half], strengths[half:])
        return [edit for part in parts for edit in _edited(method, pair, state, part, seed)]
    if len(edits) != len(strengths):
        raise PluginError(f"{len(edits)} images for {len(strengths)} strengths; a method must give one each")
    return edits


def _checked(edit: Any, pair: EditPair, others: Sequence[Any]) -> tuple[bytes | None, str]:
    """An image as PNG, or why it is none."""
    try:
        pixels = images.to_uint8(edit)
        sizes = {getattr(other, "size", None) for other in others}
        if sizes and edit.size not in sizes:
            raise ImageError(f"{edit.width}×{edit.height}, unlike the other strengths; a sweep is of one size")
        if min(edit.size) < images.MIN_SIDE:
            raise ImageError(f"{edit.width}×{edit.height}; each side needs at least {images.MIN_SIDE} px")
        if not pixels.any() and np.asarray(images.read(pair.image)).any():
            raise ImageError("the image is black throughout, as NaN becomes; try another dtype")
        return images.encode_png(edit), ""
    except ImageError as error:
        return None, short(error)


def kept(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as JSON holds them, and the names of those that it cannot hold as `unstorable`: no image is lost for one.

    Tuples become lists, numpy's numbers plain ones, and what is no finite number `nan`, `inf`, `-inf`.
    """
    plain, unstorable = {}, []
    for key, value in noted.items():
        name = _text(key)
        try:
            held = _as_json(value)
            disk.as_json({"facts": {name: held}})  # as deep as it will be written
        except Exception:  # noqa: BLE001  (a number of 5000 digits, a list that holds itself, an object that raises)
            unstorable.append(name)
        else:
            plain[name] = held
    return {**plain, "unstorable": unstorable} if unstorable else plain


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)  # of an enumeration, say, that another process does not know
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {_text(name): _as_json(item) for name, item in value.items()}
    single = value.item() if hasattr(value, "item") else None  # a number of numpy or torch
    if isinstance(single, bool | int | float | str):
        return _as_json(single)
    raise TypeError(type(value).__name__)


def _text(text: str) -> str:
    """Text that a file can hold: half surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")
