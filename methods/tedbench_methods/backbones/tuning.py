"""Copies of a network that learn: whole, or by low-rank adapters (LoRA, arXiv 2106.09685, through peft).

The shared network is never written to. What a copy has learned are tensors by name, float32, which can be kept and
put into another copy.
"""

from __future__ import annotations

import copy
import importlib.util
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tedbench.errors import MethodError
from tedbench_methods.backbones.sampling import normal
from tedbench_methods.backbones.schedule import Schedule

Scope = Literal["whole", "lora"]
Optimizer = Literal["adam", "adam8bit"]
LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Attention projections, as diffusers names them and its own LoRA training picks them."""
_ADAPTER = "lora_"


@dataclass(frozen=True)
class Descent:
    """How a loss is brought down."""

    steps: int
    rate: float
    batch: int = 1
    """Times and noises drawn a step."""
    optimizer: Optimizer = "adam"
    scaled: bool = False
    """Scale the loss, so that gradients do not vanish in fp16."""


def copied(network: nn.Module, checkpointing: bool = False, masters: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A frozen copy; with checkpointing it computes activations twice rather than keep them.

    Args:
        network: stays as it is.
        checkpointing: for networks of diffusers.
        masters: float32 weights to begin with instead of the network's own 16-bit ones.
    """
    twin = copy.deepcopy(network)
    if masters:
        twin.float().load_state_dict(masters)
    if checkpointing:
        twin.enable_gradient_checkpointing()  # type: ignore[operator]
    return twin


def unfreeze(network: nn.Module, scope: Scope, rank: int, source: torch.Generator) -> list[Tensor]:
    """Make a copy learn, and return what does.

    Args:
        network: a copy of one's own.
        scope: `whole`: all parameters, as float32 masters, since steps of 5e-7 vanish in 16 bits; `lora`: adapters.
        rank: of the adapters.
        source: draws the adapters' first matrices.

    Raises:
        MethodError: if adapters are asked for and peft is not installed.
    """
    if scope == "whole":
        network.float().requires_grad_(True)
        return list(network.parameters())
    adapt(network, rank)
    learning = [p.requires_grad_(True) for name, p in network.named_parameters() if _ADAPTER in name]
    with torch.no_grad():
        for name, p in network.named_parameters():
            if "lora_A" in name:  # distributed as peft's own, but from our generator; lora_B is zero
                p.copy_((torch.rand(p.shape, generator=source) * 2 - 1) / math.sqrt(p[0].numel()))
    return learning


def check_installed(scope: Scope, optimizer: Optimizer) -> None:
    """Refuse what needs a package that is not here.

    Raises:
        MethodError: naming it.
    """
    if scope == "lora" and importlib.util.find_spec("peft") is None:
        raise MethodError("LoRA needs peft: pip install 'tedbench-editing[lora]'; or tune the whole network")
    if optimizer == "adam8bit" and importlib.util.find_spec("bitsandbytes") is None:
        raise MethodError("optimizer 'adam8bit' needs bitsandbytes: pip install bitsandbytes; or use adam")


def adapt(network: nn.Module, rank: int) -> None:
    """Put untrained adapters into a copy.

    Raises:
        MethodError: if peft is not installed.
    """
    check_installed("lora", "adam")
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LORA_TARGETS))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, network)
    for name, p in network.named_parameters():
        p.requires_grad_(False)
        if _ADAPTER in name:
            p.data = p.data.float()


def learned(network: nn.Module) -> dict[str, Tensor]:
    """What a copy has learned, on the CPU: its adapters if it has any, else all of it."""
    state = {name: value.detach().float().cpu().clone() for name, value in network.state_dict().items()}
    adapters = {name: value for name, value in state.items() if _ADAPTER in name}
    return adapters or state


def taught(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """A frozen copy of a network that knows what another copy has learned.

    Raises:
        MethodError: if the weights are of another network.
    """
    twin = copy.deepcopy(network)
    rank = next((len(value) for name, value in weights.items() if "lora_A" in name), 0)
    if rank:
        adapt(twin, rank)
    else:
        twin.float()
    strange = set(weights) - set(twin.state_dict())
    if strange or (not rank and len(weights) != len(twin.state_dict())):
        raise MethodError(f"fitted weights do not belong to this network ({min(strange, default='some are missing')})")
    twin.load_state_dict(weights, strict=False)
    return twin.requires_grad_(False)


def descend(
    parameters: Iterable[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    shape: tuple[int, ...],
    how: Descent,
    source: torch.Generator,
) -> Tensor:
    """Adam on the loss at random times and noises, which come from the generator alone.

    Args:
        parameters: what moves, in place; must be the caller's own.
        loss: times (B,) and noise (B, *shape) → scalar.
        schedule: draws the times.
        shape: of one noise.
        how: steps, rate, batch and optimiser.
        source: a CPU generator.

    Returns:
        The loss before each step, (steps,) float32 on the CPU.

    Raises:
        MethodError: if a loss is not finite: what was learned is worth nothing then.
    """
    moving = list(parameters)
    optimizer = adam(moving, how)
    scaler = torch.amp.GradScaler(moving[0].device.type, enabled=how.scaled)
    losses = []
    for _ in range(how.steps):
        t = schedule.draw(how.batch, source)
        eps = normal((how.batch, *shape), source).to(moving[0].device)
        optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            value = loss(t, eps)
            scaler.scale(value).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        losses.append(value.detach())
    found = torch.stack(losses).float().cpu() if losses else torch.zeros(0)
    if not torch.isfinite(found).all():
        step = int((~torch.isfinite(found)).nonzero()[0])
        raise MethodError(f"the loss is {found[step]} at step {step}; try a smaller rate than {how.rate:g}, or fp32")
    return found


def adam(parameters: list[Tensor], how: Descent) -> torch.optim.Optimizer:
    """Adam with PyTorch's defaults; its 8-bit form keeps the moments in a quarter of the memory (arXiv 2110.02861).

    Raises:
        MethodError: if bitsandbytes is asked for and not installed.
    """
    if how.optimizer == "adam":
        # Fused is fastest; but on several CPU threads its barriers cost more than small tensors take.
        fused = parameters[0].device.type != "cpu" or torch.get_num_threads() == 1
        return torch.optim.Adam(parameters, lr=how.rate, fused=fused, foreach=not fused)
    check_installed("whole", "adam8bit")
    import bitsandbytes

    eight_bit: Any = bitsandbytes.optim.Adam8bit(parameters, lr=how.rate)
    return eight_bit  # type: ignore[no-any-return]
