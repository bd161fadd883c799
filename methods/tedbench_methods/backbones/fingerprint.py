"""The hash of everything about the shared models that a method could leave changed."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import torch
from torch import nn

from tedbench_methods.backbones import borrowed, loading


def fingerprints() -> dict[str, str]:
    """Hex digest of each model that this process holds, by its name and kind.

    In it: weights to the last bit, structure, training and gradient flags, hooks, replaced methods, attention
    processors, configuration and plain attributes of networks, schedulers and tokenizers, the table of the schedule.
    """
    held: dict[str, Mapping[str, Any]] = {}
    for backbone in loading.loaded():
        pipe = getattr(backbone, "pipe", None)
        parts = backbone.networks if pipe is None else pipe.components
        held[f"{backbone.name} {backbone.dtype}"] = {
            **parts,
            " networks": backbone.networks,
            " table": backbone.schedule,
        }
    for lender in borrowed.lenders():
        held[f"{type(lender.pipe).__name__} of {lender.name} {lender.dtype}"] = lender.pipe.components
    return {name: _digest(parts) for name, parts in held.items()}


def _digest(parts: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(parts.items()):
        digest.update(f"{name} {type(part).__qualname__}\n".encode())
        for line in _lines(part):
            digest.update(line)
    return digest.hexdigest()


def _lines(part: Any) -> Iterator[bytes]:
    if isinstance(part, nn.Module):
        yield from _module(part)
    elif isinstance(part, Mapping):
        yield f"{[(name, id(one)) for name, one in part.items()]}\n".encode()
    else:
        yield from _plain(part)
        yield f"{len(part)}\n".encode() if isinstance(part, Sized) else b""  # a tokenizer's vocabulary
    config = getattr(part, "config", None)
    yield repr(dict(config) if isinstance(config, Mapping) else "").encode()


def _module(network: nn.Module) -> Iterator[bytes]:
    for name, module in network.named_modules():
        hooks = [len(module._forward_hooks), len(module._forward_pre_hooks), len(module._backward_hooks)]
        processor = getattr(module, "processor", None)
        replaced = sorted(key for key, value in vars(module).items() if inspect.isroutine(value) and key != "processor")
        yield f"{name} {type(module).__qualname__} {module.training} {hooks} {replaced}\n".encode()
        yield from _plain(module)
        yield f"{type(processor).__qualname__} ".encode()
        yield from _plain(processor)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad}\n".encode()
        yield _bytes(tensor)


def _plain(thing: Any) -> Iterator[bytes]:
    for key, value in sorted(vars(thing).items()) if hasattr(thing, "__dict__") else ():
        if isinstance(value, bool | int | float | str | None | tuple):
            yield f".{key}={value!r}\n".encode()
        elif isinstance(value, torch.Tensor):
            yield f".{key}=".encode() + _bytes(value)


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
