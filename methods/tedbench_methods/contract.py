"""What every method promises, tried on small pictures: `tedbench check` runs it.

the same seed gives the same bytes, another seed others      a state is data: it can be pickled, and is not in self
a sweep may be split and reordered                           no pair sees what another left behind
images are RGB, one a strength, of one size                  neither arguments, model nor global generators change
a text that is missing is refused in one line
"""

from __future__ import annotations

import dataclasses
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from tedbench import images
from tedbench.errors import TedbenchError, short
from tedbench.types import EditPair, ImageFile, Method
from tedbench_methods.backbones.fingerprint import fingerprints
from tedbench_methods.backbones.loading import load

TOLERANCE = 2
"""Levels, of 255, that a pixel may move when a sweep is split or reordered: sums in another order round differently."""
SIZE = (96, 80)
"""Width and height of the pictures; not square, so that framing is tried too."""


@dataclass(frozen=True)
class Finding:
    """One promise, and whether it was kept."""

    promise: str
    kept: bool | None
    """None where it could not be tried."""
    why: str = ""


class Broken(Exception):
    """A promise that was not kept."""


class Skip(Exception):
    """A promise that cannot be tried on this method."""


def pictures() -> tuple[EditPair, EditPair]:
    """Two pairs with every text, about drawn pictures; uids `contract-0` and `contract-1`."""
    return _pair(0, "A photo of a sitting dog."), _pair(1, "A photo of two trees in autumn.")


class Contract:
    """The promises of one method.

    The attempts that several promises look at (a fit and a sweep on the first picture) are made once.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.pair, self.other = pictures()
        self.grid = tuple(method.strength.grid)

    def findings(self) -> Iterator[Finding]:
        """Try every promise, in turn; after a method that cannot edit at all, the rest is not tried.

        A promise that ends in any error counts as broken, with the error as the reason.
        """
        promises: list[tuple[str, Callable[[], None]]] = [
            ("a frozen dataclass, every field with a default", self._is_configuration),
            ("a strength whose grid rises within its range", self._strength),
            ("one RGB image a strength, all of one size", self._images),
            ("same seed, same bytes, whatever the global generators say", self._same_seed),
            ("another seed, other bytes", self._other_seed),
            ("the strength moves the image", self._moves),
            (f"a sweep may be split: within {TOLERANCE} of 255 levels", self._split),
            (f"a sweep may be reordered: within {TOLERANCE} of 255 levels", self._reordered),
            ("no pair sees what another left behind", self._no_memory),
            ("a state can be pickled", self._pickled),
            ("nothing is kept in self", self._self),
            ("arguments come back as they went in", self._arguments),
            ("global random generators stay where they are", self._generators),
            ("the shared model is bit for bit as it was", self._model),
            ("a missing source_text is refused, or not read", lambda: self._missing("source_text")),
            ("a missing instruction is refused, or not read", lambda: self._missing("instruction")),
        ]
        with _generators_restored():
            for place, (promise, attempt) in enumerate(promises):
                finding = _tried(promise, attempt)
                yield finding
                if place <= 2 and not finding.kept:
                    return

    def _is_configuration(self) -> None:
        cls = type(self.method)
        if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:
            raise Broken(f"{cls.__name__} is no frozen dataclass")
        missing = dataclasses.MISSING
        bare = [f.name for f in dataclasses.fields(cls) if f.default is missing and f.default_factory is missing]
        if bare:
            raise Broken(f"field {bare[0]!r} has no default")

    def _strength(self) -> None:
        knob = self.method.strength
        if not self.grid:
            raise Broken("the grid is empty")
        if list(self.grid) != sorted(set(self.grid)):
            raise Broken(f"the grid {self.grid} does not rise")
        if not knob.low <= self.grid[0] <= self.grid[-1] <= knob.high or not knob.low <= knob.default <= knob.high:
            raise Broken(f"grid {self.grid} or default {knob.default} leaves [{knob.low}, {knob.high}]")

    def _images(self) -> None:
        self._load_model()
        self.marks = fingerprints()
        self.fields, self.inside = _fields(self.method), set(vars(self.method))
        self.before = _generator_states()
        self.pixels = images.read(self.pair.image).tobytes()
        self.strengths = list(self.grid)
        self.state = self.method.fit(self.pair, 0)
        self.sweep = self._edit(self.state, self.strengths)
        self.after = _generator_states()
        self.marks = {**fingerprints(), **self.marks}  # also of what was loaded only now
        if len(self.sweep) != len(self.grid):
            raise Broken(f"{len(self.sweep)} images for {len(self.grid)} strengths")
        for image in self.sweep:
            images.to_uint8(image)
        sizes = sorted({image.size for image in self.sweep})
        if len(sizes) > 1 or min(sizes[0]) < images.MIN_SIDE:
            raise Broken(f"sizes {', '.join(f'{w}×{h}' for w, h in sizes)}")

    def _load_model(self) -> None:
        # So that its marks are taken before the method's first touch.
        prepare = getattr(self.method, "prepare", None)
        if prepare is not None:
            prepare()
        elif isinstance(model := getattr(self.method, "model", None), str) and model:
            load(model)

    def _same_seed(self) -> None:
        for seed in (1, 2):
            _seed_generators(seed)
            if _bytes(self._edit(self.method.fit(self.pair, 0))) != _bytes(self.sweep):
                raise Broken("a second fit and sweep with the same seed differ")

    def _other_seed(self) -> None:
        same = _bytes(self._edit(self.method.fit(self.pair, 1), seed=1)) == _bytes(self.sweep)
        if getattr(self.method, "deterministic", False):
            if not same:
                raise Broken("it says deterministic = True, and another seed gives other bytes")
            raise Skip("deterministic: it reads no seed")
        if same:
            raise Broken("another seed gives the same bytes; if no noise is drawn, say deterministic = True")

    def _moves(self) -> None:
        if len(self.grid) == 1:
            raise Skip("its grid has one strength")
        if len(set(_bytes(self.sweep))) == 1:
            raise Broken("all strengths give one image")

    def _split(self) -> None:
        alone = [self._edit(self.state, [strength])[0] for strength in self.grid]
        self._near(alone, self.sweep)

    def _reordered(self) -> None:
        self._near(self._edit(self.state, self.grid[::-1])[::-1], self.sweep)

    def _no_memory(self) -> None:
        self._edit(self.method.fit(self.other, 0), pair=self.other)
        if _bytes(self._edit(self.state)) != _bytes(self.sweep):
            raise Broken("after another pair, the same state gives another sweep")
        if _bytes(self._edit(self.method.fit(self.pair, 0))) != _bytes(self.sweep):
            raise Broken("after another pair, a fit on the first gives another sweep")

    def _pickled(self) -> None:
        try:
            again = pickle.loads(pickle.dumps(self.state))
        except Exception as error:  # pickling raises whatever an object does
            raise Broken(f"it cannot ({short(error, 90)})") from error
        if _bytes(self._edit(again)) != _bytes(self.sweep):
            raise Broken("after a round trip the state gives another sweep")

    def _self(self) -> None:
        if _fields(self.method) != self.fields:
            raise Broken("a field changed")
        if set(vars(self.method)) != self.inside:
            raise Broken(f"self now holds {min(set(vars(self.method)) - self.inside)!r}")

    def _arguments(self) -> None:
        if self.strengths != list(self.grid):
            raise Broken("the list of strengths was changed")
        if images.read(self.pair.image).tobytes() != self.pixels:
            raise Broken("the input image was written to; images.read shares it, so copy first")

    def _generators(self) -> None:
        moved = [name for name, state in self.before.items() if self.after[name] != state]
        if moved:
            raise Broken(f"{moved[0]}'s global generator was used; make one from the seed")

    def _model(self) -> None:
        if not self.marks:
            raise Skip("it uses none of the shared backbones")
        now = fingerprints()
        changed = [name for name, mark in self.marks.items() if now.get(name) != mark]
        if changed:
            raise Broken(f"{changed[0]} is not what it was")

    def _missing(self, field: str) -> None:
        without: dict[str, Any] = {field: None}
        bare = dataclasses.replace(self.pair, **without)
        try:
            sweep = self._edit(self.method.fit(bare, 0), pair=bare)
        except TedbenchError as error:
            if field not in str(error).replace(" ", "_"):
                raise Broken(f"it is refused without saying so: {short(error, 90)}") from error
            return
        if _bytes(sweep) != _bytes(self.sweep):
            raise Broken("without it the images are others, so something else was put in its place")

    def _edit(
        self, state: Any, strengths: Sequence[float] | None = None, seed: int = 0, pair: EditPair | None = None
    ) -> list[Image.Image]:
        asked = self.grid if strengths is None else strengths
        return list(self.method.edit(pair or self.pair, state, asked, seed))

    def _near(self, found: Sequence[Image.Image], expected: Sequence[Image.Image]) -> None:
        for strength, one, other in zip(self.grid, found, expected, strict=True):
            a, b = (images.to_uint8(image).astype(int) for image in (one, other))
            gap = int(np.abs(a - b).max()) if a.shape == b.shape else 255
            if gap > TOLERANCE:
                raise Broken(f"at strength {strength:g} a pixel moves by {gap} levels")


def _tried(promise: str, attempt: Callable[[], None]) -> Finding:
    try:
        attempt()
    except Skip as skip:
        return Finding(promise, None, str(skip))
    except Exception as error:  # noqa: BLE001  (a stranger's method can raise anything)
        return Finding(promise, False, str(error) if isinstance(error, Broken) else short(error))
    return Finding(promise, True)


def _pair(number: int, target_text: str) -> EditPair:
    rng = np.random.default_rng(number)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]] / max(SIZE)
    pixels = np.stack([x, y, 1 - x], -1) * rng.uniform(60, 255, 3)
    pixels[20:50, 30:70] = rng.uniform(0, 255, 3)
    data = images.encode_png(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    uid = f"contract-{number}"
    return EditPair(
        uid, ImageFile(f"{uid}.png", images.sha256(data), data=data), target_text, image_id=uid,
        source_text="A photo.", instruction="Change it.",
    )  # fmt: skip


def _bytes(sweep: Sequence[Image.Image]) -> list[bytes]:
    return [image.tobytes() for image in sweep]


def _fields(method: Any) -> str:
    return repr({field.name: getattr(method, field.name) for field in dataclasses.fields(method)})


def _generator_states() -> dict[str, str]:
    numpy_state = np.random.get_state()
    return {
        "random": repr(random.getstate()),
        "numpy": repr(numpy_state),
        "torch": repr(torch.get_rng_state().tolist()),
    }


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _generators_restored() -> Iterator[None]:
    python, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
