"""The hash of everything about the shared models that a method could leave changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from tedbench_methods.backbones import borrowed, loading


def fingerprints() -> dict[str, str]:
    """Hex digest of each model that this process holds, by its name and kind.

    In it: weights to the last bit, structure, training and gradient flags, hooks, attention processors, the attributes
    of networks and schedulers that are plain values.
    """
    held: dict[str, Mapping[str, Any]] = {}
    for backbone in loading.loaded():
        pipe = getattr(backbone, "pipe", None)
        held[f"{backbone.name} {backbone.dtype}"] = backbone.networks if pipe is None else pipe.components
    for lender in borrowed.lenders():
        held[f"{type(lender.pipe).__name__} of {lender.name} {lender.dtype}"] = lender.pipe.components
    return {name: _digest(parts) for name, parts in held.items()}


def _digest(parts: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        for line in _module(part) if isinstance(part, nn.Module) else _plain(part):
            digest.update(f"{name} ".encode() + line)
    return digest.hexdigest()


def _module(network: nn.Module) -> Iterator[bytes]:
    for name, module in network.named_modules():
        hooks = [len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)]
        processor = type(getattr(module, "processor", None)).__qualname__
        yield f"{name} {type(module).__qualname__} {module.training} {hooks} {processor}\n".encode()
        yield from _plain(module)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}\n".encode()
        yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _plain(thing: Any) -> Iterator[bytes]:
    for key, value in sorted(vars(thing).items()) if hasattr(thing, "__dict__") else ():
        if isinstance(value, bool | int | float | str | None | tuple):
            yield f".{key}={value!r}\n".encode()
        elif isinstance(value, torch.Tensor):
            yield f".{key}=".encode() + value.detach().cpu().numpy().tobytes()
