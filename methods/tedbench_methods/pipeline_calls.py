"""What one pair and seed ask of a diffusers pipeline: its calls, with their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from tedbench.errors import MethodError, UnknownName, UsageError
from tedbench.types import EditPair
from tedbench_methods import templates
from tedbench_methods.backbones import borrowed
from tedbench_methods.backbones.sampling import generator

if TYPE_CHECKING:
    from tedbench_methods.pipelines import Pipeline


@dataclass(frozen=True, eq=False)
class Calls:
    """The calls of one sweep. Pipelines come as arguments and are changed: give copies."""

    how: Pipeline
    pair: EditPair
    seed: int
    texts: Mapping[str, str]
    image: Image.Image
    """The input at the size that the pipeline takes."""

    def prepare(self, pipe: Any) -> None:
        """Set the scheduler, and make the first call where the whole sweep can share it."""
        how = self.how
        if how.scheduler:
            cls = borrowed.scheduler_class(how.scheduler)
            pipe.scheduler = cls.from_config(pipe.scheduler.config, **how.scheduler_config)
        if how.first and not how.turned[0]:
            self._first(pipe, {})

    def edit(self, pipe: Any, strength: float) -> tuple[Image.Image, int | None]:
        """The image of one strength, and the steps it took, where the strength decides on them.

        Raises:
            MethodError: if the pipeline gives no picture.
        """
        of, argument = self.how.turned
        knob = {argument: strength} if argument else {}
        steps = self._steps(pipe, strength) if self.how.fraction_of else None
        if steps == 0:
            return borrowed.round_trip(pipe, self.image), steps
        if of:
            self._first(pipe, knob)
        made = pipe(**self._arguments(pipe.__call__, self.how.call, {} if of else knob, "x_T"))
        return _picture(made, type(pipe).__name__), steps

    def _first(self, pipe: Any, knob: Mapping[str, float]) -> None:
        function = getattr(pipe, self.how.first)
        function(**self._arguments(function, self.how.first_call, knob, self.how.first))

    def _arguments(
        self, function: Callable[..., Any], template: Mapping[str, Any], knob: Mapping[str, float], purpose: str
    ) -> dict[str, Any]:
        accepted = inspect.signature(function).parameters
        given: dict[str, Any] = templates.filled(template, self.texts, self.image)
        for name, strength in knob.items():  # what counts something by default is given a whole number where it is one
            whole = type(accepted[name].default) is int and strength == int(strength)
            given[name] = int(strength) if whole else strength
        if "generator" in accepted:
            given["generator"] = generator(self.pair, self.seed, purpose)
        return given

    def _steps(self, pipe: Any, strength: float) -> int:
        """As many whole steps as the pipeline itself makes of a strength."""
        name = self.how.fraction_of
        of = self.how.call.get(name, inspect.signature(pipe.__call__).parameters[name].default)
        if type(of) is not int:
            raise UsageError(f"diffusers: fraction_of names {name}, which is {of!r} and no number of steps")
        if not hasattr(pipe, "get_timesteps"):
            return int(of * strength)
        pipe.scheduler.set_timesteps(of, device=pipe.device)  # some have none before their first call
        return int(pipe.get_timesteps(of, strength, pipe.device)[1])


def check_names(how: Pipeline, cls: type[Any]) -> None:
    """Refuse what a pipeline and a scheduler do not have; many of them would ignore it.

    Raises:
        UnknownName: with the nearest name.
    """
    of, argument = how.turned
    knob = [argument] if argument else []
    steps = [how.fraction_of] if how.fraction_of else []
    _check(f"argument of {cls.__name__}", cls.__call__, [*how.call, *steps, *([] if of else knob)])
    if how.first:
        known = [name for name, _ in inspect.getmembers(cls, callable) if not name.startswith("_")]
        if how.first not in known:
            raise UnknownName(f"method of {cls.__name__}", how.first, known)
        method = getattr(cls, how.first)
        _check(f"argument of {cls.__name__}.{how.first}", method, [*how.first_call, *(knob if of else [])])
    if how.scheduler:
        _check(f"setting of {how.scheduler}", borrowed.scheduler_class(how.scheduler).__init__, how.scheduler_config)


def _check(kind: str, function: Callable[..., Any], names: Iterable[str]) -> None:
    several = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    known = [name for name, one in inspect.signature(function).parameters.items() if one.kind not in several]
    for name in names:
        if name not in known or name == "self":
            raise UnknownName(kind, name, [name for name in known if name != "self"])


def _picture(made: Any, pipeline: str) -> Image.Image:
    found = made.images if hasattr(made, "images") else made
    while isinstance(found, list | tuple) and found:
        found = found[0]
    if not isinstance(found, Image.Image):
        raise MethodError(f"{pipeline} gave {type(found).__name__}, no picture; is it an image-to-image pipeline?")
    return found.convert("RGB")
