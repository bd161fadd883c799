"""The loop that trains each of the small networks: AdamW, warm-up and cosine, averaged weights, checkpoints.

Step t draws everything random from generators made of (seed, t), so a run that was cut off and goes on gives the same
bytes as one that was not.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from tedbench.errors import UsageError


@dataclass(frozen=True)
class Plan:
    """How long and how fast a network learns."""

    name: str
    steps: int
    seed: int
    rate: float
    """Highest learning rate."""
    batch: int = 128
    """Pictures a step."""
    warmup: float = 0.05
    """Part of the steps in which the rate rises."""
    weight_decay: float = 0.05
    average: float = 0.995
    """Decay of the averaged weights, which are the ones that are kept."""
    bf16: bool = True
    """Products in bfloat16."""


@dataclass(frozen=True)
class Place:
    """Where a network learns."""

    work: Path
    device: str = "cpu"
    save_every: int = 100
    stop_at: int | None = None
    """Leave off before this step, as an interruption would."""


@dataclass(frozen=True)
class Progress:
    """What a run has come to; what the checkpoint holds."""

    step: int
    network: dict[str, Tensor]
    optimizer: dict[str, Any]
    average: dict[str, Tensor]
    losses: tuple[float, ...] = ()
    """Mean loss between checkpoints."""
    seconds: float = 0.0


@dataclass(frozen=True)
class Dice:
    """The random numbers of one step."""

    torch: torch.Generator
    numpy: np.random.Generator


def dice(seed: int, step: int) -> Dice:
    """Generators made of a seed and a step."""
    rng = np.random.default_rng((seed, step))
    return Dice(torch.Generator().manual_seed(int(rng.integers(2**62))), rng)


def fit(network: nn.Module, loss: Callable[[Dice], Tensor], plan: Plan, place: Place) -> Progress:
    """Train a network; afterwards it holds the averaged weights.

    Args:
        network: on its device; changed.
        loss: the loss of one step, from that step's random numbers.
        plan: what to do.
        place: where; a checkpoint found in `work` is gone on from.

    Raises:
        UsageError: if the checkpoint is another plan's.
    """
    optimizer = _optimizer(network, plan)
    progress = _resume(network, optimizer, plan, place)
    stop = min(plan.steps, place.stop_at or plan.steps)
    with tqdm(total=plan.steps, initial=progress.step, desc=plan.name, disable=None) as bar:
        while progress.step < stop:
            until = min(stop, (progress.step // place.save_every + 1) * place.save_every)
            progress = _stretch(network, optimizer, loss, plan, progress, until)
            _save(progress, plan, place)
            bar.update(progress.step - bar.n)
            bar.set_postfix(loss=f"{progress.losses[-1]:.3f}")
    network.load_state_dict(progress.average)
    network.eval()
    return progress


def autocast(device: str, on: bool) -> AbstractContextManager[Any]:
    """Products in bfloat16, if wanted."""
    return torch.autocast(device.split(":")[0], torch.bfloat16) if on else nullcontext()


def rate_at(plan: Plan, step: int) -> float:
    """Linear warm-up, then half a cosine to a hundredth."""
    rising = max(1.0, plan.warmup * plan.steps)
    if step < rising:
        return plan.rate * (step + 1) / rising
    done = (step - rising) / max(1.0, plan.steps - rising)
    return plan.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def _stretch(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[Dice], Tensor],
    plan: Plan, progress: Progress, until: int,
) -> Progress:  # fmt: skip
    started, losses, average = time.monotonic(), [], progress.average
    network.train()
    for step in range(progress.step, until):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(plan, step)
        optimizer.zero_grad(set_to_none=True)
        value = loss(dice(plan.seed, step))
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average = _averaged(average, network.state_dict(), min(plan.average, (step + 1) / (step + 10)))
        losses.append(float(value.detach()))
    mean = sum(losses) / len(losses)
    return Progress(
        until, network.state_dict(), optimizer.state_dict(), average,
        (*progress.losses, mean), progress.seconds + time.monotonic() - started,
    )  # fmt: skip


def _averaged(average: dict[str, Tensor], now: dict[str, Tensor], decay: float) -> dict[str, Tensor]:
    with torch.no_grad():
        return {
            key: torch.lerp(now[key], old, decay) if old.is_floating_point() else now[key].clone()
            for key, old in average.items()
        }


def _optimizer(network: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    # Gains, biases and the temperature are not to shrink.
    found = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in found if p.ndim >= 2], "weight_decay": plan.weight_decay},
        {"params": [p for p in found if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))


def _resume(network: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan, place: Place) -> Progress:
    file = _checkpoint(plan, place)
    if not file.exists():
        now = copy.deepcopy(network.state_dict())
        return Progress(0, now, optimizer.state_dict(), now)
    kept = torch.load(file, map_location=place.device, weights_only=True)
    if kept.pop("plan") != asdict(plan):
        raise UsageError(f"{file} belongs to another plan; give another --work, or remove it")
    progress = Progress(**kept)
    network.load_state_dict(progress.network)
    optimizer.load_state_dict(progress.optimizer)
    return replace(progress, losses=tuple(progress.losses))


def _save(progress: Progress, plan: Plan, place: Place) -> None:
    file = _checkpoint(plan, place)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    torch.save({"plan": asdict(plan), **{k: getattr(progress, k) for k in progress.__dataclass_fields__}}, partial)
    partial.replace(file)


def _checkpoint(plan: Plan, place: Place) -> Path:
    return place.work / f"{plan.name}.checkpoint"
