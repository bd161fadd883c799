"""Gradient descent that can be stopped at any moment and gives the same bytes as if it had not been.

What a step draws depends on the seed and the step's number only; weights, their average, the optimizer's state and the
losses stand in one file, which is replaced whole.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from tedbench.errors import UsageError

_log = logging.getLogger(__name__)
_LOG_EVERY = 100


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    cycles: tuple[int, ...]
    """Steps; in each cycle the learning rate falls anew (SGDR, arXiv 1608.03983)."""
    batch: int
    rate: float
    """Learning rate at its peak, after the warm-up; it falls to a hundredth by half a cosine."""
    warmup: int = 200
    seed: int = 0
    device: str = "cpu"
    bf16: bool = True
    """Whether networks compute in bfloat16; weights are float32 in any case."""
    save_every: int = 250

    def identity(self) -> dict[str, Any]:
        """What decides the result."""
        names = ("cycles", "batch", "rate", "warmup", "seed", "bf16")
        return {name: getattr(self, name) for name in names} | {"device": torch.device(self.device).type}

    @property
    def steps(self) -> int:
        """Of all cycles."""
        return sum(self.cycles)

    def precision(self) -> AbstractContextManager[Any]:
        """In which the networks are called; losses are computed outside it."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16) if self.bf16 else nullcontext()

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        ends = list(itertools.accumulate(self.cycles))
        cycle = min(bisect.bisect_right(ends, step), len(ends) - 1)
        done = (step - ends[cycle] + self.cycles[cycle]) / self.cycles[cycle]
        return self.rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)

    def random(self, step: int) -> Random:
        """A step's own generators."""
        return Random(self.seed, step)


class Random:
    """Generators of a step, on the CPU, so that devices see the same numbers."""

    def __init__(self, seed: int, step: int) -> None:
        self.numpy = np.random.default_rng([seed, step])
        self.torch = torch.Generator().manual_seed(int(self.numpy.integers(2**63)))


@dataclass
class Record:
    """What a training was like."""

    losses: list[float] = field(default_factory=list)
    """One a step."""
    seconds: float = 0.0
    """Of the steps that the result is made of, over all sittings."""


@dataclass(frozen=True)
class Stage:
    """A part's training."""

    recipe: Recipe
    record: Record


def train(
    model: nn.Module, loss: Callable[[Random], Tensor], recipe: Recipe, file: Path, identity: Mapping[str, str]
) -> Record:
    """Train a model in place, from the beginning or from where a file says; it ends with its averaged weights.

    Args:
        model: initialised, on its device.
        loss: a step's loss, given its generators.
        recipe: how.
        file: where the state is kept.
        identity: what else decides the result, such as which data it sees.

    Raises:
        UsageError: if the file belongs to another training.
    """
    run = _Run(model, recipe, file, {**recipe.identity(), **identity})
    run.restore()
    bar = tqdm(range(len(run.record.losses), recipe.steps), file.stem, disable=None)
    for step in bar:
        run.advance(loss, step)
        if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
            run.save()
    run.adopt_average()
    return run.record


class _Run:
    def __init__(self, model: nn.Module, recipe: Recipe, file: Path, identity: dict[str, Any]) -> None:
        self.model, self.recipe, self.file, self.identity = model, recipe, file, identity
        self.weights: list[Tensor] = list(model.parameters())
        self.averages = [weight.detach().clone() for weight in self.weights]
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=recipe.rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.record = Record()

    def advance(self, loss: Callable[[Random], Tensor], step: int) -> None:
        """One step of AdamW, and of the average."""
        began = time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(step)
        self.optimizer.zero_grad()
        value = loss(self.recipe.random(step))
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self._average(step)
        self._note(value.item(), time.perf_counter() - began)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Exponential, over a tenth of the steps so far and a thousand at most."""
        torch._foreach_lerp_(self.averages, self.weights, 1 - min(0.999, (1 + step) / (10 + step)))

    def _note(self, loss: float, seconds: float) -> None:
        record = self.record
        record.losses.append(loss)
        record.seconds += seconds
        if not math.isfinite(loss):
            raise UsageError(f"the loss is {loss} at step {len(record.losses)}; try a lower rate, or fp32")
        if len(record.losses) % _LOG_EVERY == 0:
            recent = sum(record.losses[-_LOG_EVERY:]) / _LOG_EVERY
            pace = 1000 * record.seconds / len(record.losses)
            _log.info("%s %d: loss %.4f, %.0f ms a step", self.file.stem, len(record.losses), recent, pace)

    @torch.no_grad()
    def adopt_average(self) -> None:
        """Exchange the weights for their average."""
        for weight, average in zip(self.weights, self.averages, strict=True):
            weight.copy_(average)

    def save(self) -> None:
        """Write the state; a stop in the midst of it leaves the one before."""
        state = {
            "identity": self.identity, "model": self.model.state_dict(), "averages": self.averages,
            "optimizer": self.optimizer.state_dict(), "losses": self.record.losses, "seconds": self.record.seconds,
        }  # fmt: skip
        self.file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, scratch := self.file.with_suffix(".partial"))
        scratch.replace(self.file)

    def restore(self) -> None:
        """Go to where the file is, if there is one."""
        if not self.file.exists():
            return
        state = torch.load(self.file, map_location=self.recipe.device, weights_only=True)
        self._check(state["identity"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        with torch.no_grad():
            torch._foreach_copy_(self.averages, state["averages"])
        self.record = Record(list(state["losses"]), state["seconds"])

    def _check(self, found: Mapping[str, Any]) -> None:
        other = [key for key in {**found, **self.identity} if found.get(key) != self.identity.get(key)]
        if other:
            key = other[0]
            raise UsageError(
                f"{self.file} is of a training with {key} {found.get(key)}, not {self.identity.get(key)}; "
                "ask for the same, or give another --work"
            )
