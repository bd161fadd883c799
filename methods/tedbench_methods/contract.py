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

from tedbench import facts, images
from tedbench.errors import TedbenchError, short
from tedbench.types import EditPair, Method, Strength
from tedbench_methods.backbones.fingerprint import fingerprints
from tedbench_methods.backbones.loading import load
from tedbench_methods.pictures import encoded_anew, pictures

TOLERANCE = 2
"""Levels, of 255, that a pixel may move when a sweep is split or reordered: sums in another order round differently."""


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


class Contract:
    """The promises of one method.

    The attempts that several promises look at (a fit and a sweep on the first picture) are made once.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self.pair, *self.others = pictures()
        self.grid: tuple[float, ...] = ()

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
            ("global random generators and torch's settings stay where they are", self._generators),
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
        if not isinstance(knob, Strength):
            raise Broken(f"strength is a {type(knob).__name__}, and no tedbench.types.Strength")
        self.grid = tuple(float(strength) for strength in knob.grid)
        if not self.grid:
            raise Broken("the grid is empty")
        if list(self.grid) != sorted(set(self.grid)):
            raise Broken(f"the grid {self.grid} does not rise")
        if not knob.low <= self.grid[0] <= self.grid[-1] <= knob.high or not knob.low <= knob.default <= knob.high:
            raise Broken(f"grid {self.grid} or default {knob.default} leaves [{knob.low}, {knob.high}]")

    def _images(self) -> None:
        self._load_model()
        self.marks = fingerprints()
        self.fields, self.inside = _fields(self.method), _inside(self.method)
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
        forth = [_bytes(self._edit(self.method.fit(pair, 0), pair=pair)) for pair in self.others]
        if _bytes(self._edit(self.state)) != _bytes(self.sweep):
            raise Broken("after another pair, the same state gives another sweep")
        if _bytes(self._edit(self.method.fit(self.pair, 0))) != _bytes(self.sweep):
            raise Broken("after another pair, a fit on the first gives another sweep")
        back = [_bytes(self._edit(self.method.fit(pair, 0), pair=pair)) for pair in self.others[::-1]]
        if forth != back[::-1]:  # each now came after another one
            raise Broken("a pair gets other images where another one came before it")
        # The same picture in another file: what is kept under a file's hash is served to one of the two only.
        twin = encoded_anew(self.others[1])
        if _bytes(self._edit(self.method.fit(twin, 0), pair=twin)) != forth[1]:
            raise Broken("a pair about a picture that was seen before is not treated as a new one")

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
        if _inside(self.method) != self.inside:
            raise Broken(f"self now holds {min(_inside(self.method) - self.inside)!r}")

    def _arguments(self) -> None:
        if self.strengths != list(self.grid):
            raise Broken("the list of strengths was changed")
        if images.read(self.pair.image).tobytes() != self.pixels:
            raise Broken("the input image was written to; images.read shares it, so copy first")

    def _generators(self) -> None:
        moved = [name for name, state in self.before.items() if self.after[name] != state]
        if moved:
            raise Broken(f"{moved[0]} moved; make a generator from the seed, and put settings back")

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
            with facts.noted() as said:
                sweep = self._edit(self.method.fit(bare, 0), pair=bare)
        except TedbenchError as error:
            if field not in str(error).lower().replace(" ", "_"):
                raise Broken(f"it is refused without saying so: {short(error, 90)}") from error
            return
        if _bytes(sweep) != _bytes(self.sweep) and f"{field}_by" not in said:
            raise Broken(
                f"without it the images are others, so something was put in its place; note {field}_by if that is meant"
            )

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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (a stranger's method can raise anything, sys.exit() too)
        return Finding(promise, False, str(error) if isinstance(error, Broken) else short(error))
    return Finding(promise, True)


def _bytes(sweep: Sequence[Image.Image]) -> list[bytes]:
    return [image.tobytes() for image in sweep]


def _inside(method: Any) -> set[str]:
    return set(getattr(method, "__dict__", ()))  # with slots there is nothing that could be added


def _fields(method: Any) -> str:
    return repr({field.name: getattr(method, field.name) for field in dataclasses.fields(method)})


def _generator_states() -> dict[str, str]:
    torch_settings = (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads())
    return {
        "random's global generator": repr(random.getstate()),
        "numpy's global generator": repr(np.random.get_state()),
        "torch's global generator": repr(torch.get_rng_state().tolist()),
        "torch's global setting": repr(torch_settings),
    }


def _seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _generators_restored() -> Iterator[None]:
    python, numpy_state, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    try:
        with torch.random.fork_rng(), torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_num_threads(threads)
