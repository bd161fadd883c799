"""Whole diffusers pipelines, loaded once a process and lent out as copies.

A pipeline may do to itself what it likes: keep latents, exchange attention processors, reconfigure its scheduler,
switch flags, hang hooks, move a part to another dtype. So whoever borrows one gets a copy of everything but the
weights, and the copy is thrown away. Whether the weights were written to is looked up when it comes back.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tedbench import models
from tedbench.errors import MethodError, UnknownName, short
from tedbench_methods.backbones import loading
from tedbench_methods.backbones.stable_diffusion import StableDiffusion
from tedbench_methods.backbones.text import Text

Key = tuple[str, type[Any], torch.device, torch.dtype]


@dataclass(frozen=True, eq=False)
class Lender:
    """A pipeline that is shared, and its weights as they were when it was loaded."""

    name: str
    """Which model this is, with a hash of its files or the hub's commit."""
    pipe: Any
    """Never called itself."""
    key: Key
    prints: tuple[tuple[int, int], ...] = field(repr=False)

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.key[2]

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in, the autoencoder included."""
        return self.key[3]

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Its parts that have weights, by name."""
        return {name: part for name, part in self.pipe.components.items() if isinstance(part, nn.Module)}

    @property
    def size(self) -> int:
        """Side of its images in pixels.

        Raises:
            MethodError: if its configuration does not say.
        """
        factor = getattr(self.pipe, "vae_scale_factor", 1)
        network = getattr(self.pipe, "unet", None) or getattr(self.pipe, "transformer", None)
        side = getattr(getattr(network, "config", None), "sample_size", None)
        side = side if isinstance(side, int) else getattr(self.pipe, "default_sample_size", None)
        if not isinstance(side, int):
            raise MethodError(f"model {self.name!r} does not say how large its images are; give size=PIXELS")
        return side * int(factor)

    @contextmanager
    def lent(self, seed: int) -> Iterator[Any]:
        """A copy of the pipeline for one block, in which the libraries are quiet.

        Args:
            seed: for what draws from the global generators all the same; they are put back.

        Raises:
            MethodError: at the end, if weights were written to; the pipeline is then loaded anew when next asked for.
        """
        with models.quiet(), _own_noise(self.device, seed):
            try:
                yield copied(self.pipe)
            finally:
                if fingerprint(self.pipe) != self.prints:
                    _held.pop(self.key, None)
                    raise MethodError(
                        f"{self.key[1].__name__} wrote to the weights of {self.name}, which others share; its images "
                        "are not kept, and the model is loaded anew"
                    )


def lender(model: str, pipeline: str, device: str = "auto", dtype: str = "auto") -> Lender:
    """The shared pipeline of a model and class; the same object for the same arguments.

    Args:
        model: folder, hub id or tiny name, as for `load`.
        pipeline: class in diffusers, or `module:Class`.
        device: as for `load`.
        dtype: as for `load`; the whole pipeline computes in it.

    Raises:
        UsageError: no model, class, device or dtype of that name.
        MethodError, NetworkError: as for `load`.
    """
    place, precision = loading.pick(device, dtype)
    folder = model if loading.is_tiny(model) else str(loading.located(model))
    key = (folder, pipeline_class(pipeline), place, precision)
    if key not in _held:
        name, pipe = _opened(key)
        _held[key] = Lender(name, pipe, key, fingerprint(pipe))
    return _held[key]


def lenders() -> list[Lender]:
    """The pipelines that this process holds."""
    return list(_held.values())


def pipeline_class(name: str) -> type[Any]:
    """A pipeline's class: diffusers' of that name, or `module:Class`.

    Raises:
        UnknownName: if diffusers has none.
        MethodError: if a module or its class is not there.
    """
    module, _, attribute = name.partition(":")
    if attribute:
        try:
            return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
        except Exception as error:  # a stranger's module can raise anything
            raise MethodError(f"pipeline {name!r} cannot be imported: {short(error)}") from error
    return _in_diffusers("diffusers pipeline", name, "Pipeline")


def scheduler_class(name: str) -> type[Any]:
    """A scheduler's class in diffusers.

    Raises:
        UnknownName: if there is none.
    """
    return _in_diffusers("diffusers scheduler", name, "Scheduler")


def copied(pipe: Any) -> Any:
    """A pipeline that shares weights with another one, and nothing else."""
    return copy.deepcopy(pipe, {id(tensor): _alias(tensor) for tensor in weights(pipe)})


def weights(pipe: Any) -> Iterator[Tensor]:
    """Parameters and buffers of all parts of a pipeline."""
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            yield from part.parameters()
            yield from part.buffers()


def fingerprint(pipe: Any) -> tuple[tuple[int, int], ...]:
    """How often each weight was written to, as torch counts, and the sum of its bits, for writes it does not count."""
    return tuple((tensor._version, _bits(tensor)) for tensor in weights(pipe))


@torch.no_grad()
def round_trip(pipe: Any, image: Image.Image) -> Image.Image:
    """An image through a pipeline's autoencoder and back, as backbones do it; brings the autoencoder to float32.

    Raises:
        MethodError: if the pipeline has none.
    """
    vae = getattr(pipe, "vae", None)
    if vae is None:
        raise MethodError(f"{type(pipe).__name__} has no autoencoder; choose strengths of at least one step")
    vae.to(torch.float32)
    autoencoder = _Autoencoder("", "", pipe, pipe.device, torch.float32, side=image.width)
    (made,) = autoencoder.decode(autoencoder.encode(image), Text({}))
    return made


@dataclass(frozen=True, eq=False)
class _Autoencoder(StableDiffusion):
    """Of any latent pipeline, for images of one side."""

    side: int = 0

    @property
    def size(self) -> int:
        return self.side


_held: dict[Key, Lender] = {}


def _alias(tensor: Tensor) -> Tensor:
    # Another tensor on the same memory: `.to(dtype)` on it leaves the first alone, while a write counts for both.
    alias = tensor.detach()
    return nn.Parameter(alias, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else alias


@torch.no_grad()
def _bits(tensor: Tensor) -> int:
    raw = tensor.detach().reshape(-1).view(torch.uint8)
    whole = len(raw) // 8 * 8
    words = raw[:whole].view(torch.int64) if raw.storage_offset() % 8 == 0 else raw[:whole]
    return int(words.sum()) + int(raw[whole:].sum())


def _opened(key: Key) -> tuple[str, Any]:
    folder, cls, device, dtype = key
    options = {"add_watermarker": False} if "add_watermarker" in inspect.signature(cls.__init__).parameters else {}
    if not Path(folder).is_absolute():
        name, pipe = folder, _tiny(folder, cls, dtype, options)
    else:
        loading.read_index(Path(folder))
        name, pipe = loading.identity(Path(folder)), loading.open_pipeline(Path(folder), cls, dtype, **options)
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.to(device).requires_grad_(False).eval()
    return name, pipe


def _tiny(name: str, cls: type[Any], dtype: torch.dtype, options: dict[str, Any]) -> Any:
    from tedbench_methods.backbones import tiny

    pipe = tiny.pipeline(name)
    try:
        with models.quiet():
            return cls.from_pipe(pipe, dtype=dtype, **options)
    except Exception as error:  # a class that wants other parts raises whatever it stumbles over
        raise MethodError(f"{cls.__name__} cannot be made of {name}: {short(error)}") from error


def _in_diffusers(kind: str, name: str, ending: str) -> type[Any]:
    import diffusers

    known = [entry for entry in dir(diffusers) if ending in entry and not entry.startswith("_")]
    if name not in known:
        raise UnknownName(kind, name, known)
    with models.quiet():
        cls: type[Any] = getattr(diffusers, name)
    return cls


@contextmanager
def _own_noise(device: torch.device, seed: int) -> Iterator[None]:
    """Global generators seeded for one block, and put back."""
    gpus = [device.index or 0] if device.type == "cuda" else []
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=gpus):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                torch.cuda.default_generators[gpu].manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
