"""A model's name becomes a backbone, once a process.

A name is a folder in diffusers' format, a hub id `ORG/NAME[@REVISION]`, `module:Class` for a backbone of one's own,
called with device and dtype, or `tiny-sd1`, `tiny-sd2`, `tiny-sdxl`: small random models for checks. Only safetensors
are read: a pickle runs whatever code its author put into it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tedbench import models
from tedbench.errors import MethodError, NetworkError, UsageError, short
from tedbench_methods import toy
from tedbench_methods.backbones.base import Backbone
from tedbench_methods.backbones.stable_diffusion import StableDiffusion, StableDiffusionXL

PIPELINES = {
    "StableDiffusionPipeline": StableDiffusion,
    "StableDiffusionImg2ImgPipeline": StableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
    "StableDiffusionXLImg2ImgPipeline": StableDiffusionXL,
}
"""Class named in a model's model_index.json → its backbone."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WEIGHTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
"""Parts of a model that must have weights, where model_index.json names them."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w.-]+)?")


def load(model: str, device: str = "auto", dtype: str = "auto") -> Backbone:
    """The backbone of a name; the same object for the same arguments.

    Args:
        model: folder, hub id or tiny name.
        device: auto (the GPU where there is one), cpu, cuda, cuda:N or mps.
        dtype: what the network computes in: auto (bf16 on CUDA, else fp32), fp32, bf16 or fp16.

    Raises:
        UsageError: no model, device or dtype of that name.
        MethodError: a folder that holds no model we know, or lacks safetensors.
        NetworkError: a hub that is needed and cannot be reached.
    """
    place, precision = pick(device, dtype)
    key = (model if _is_name(model) else str(located(model)), place, precision)
    if key not in _held:
        own = _is_name(model) and ":" in model
        _held[key] = _own(*key) if own else _diffusers(*key)
    return _held[key]


def loaded() -> list[Backbone]:
    """The backbones that this process holds."""
    return list(_held.values())


def check_dtype(dtype: str) -> None:
    """Refuse what is no dtype's name.

    Raises:
        UsageError: for such a name.
    """
    if dtype not in ("auto", *DTYPES):
        raise UsageError(f"no dtype {dtype!r}; known: auto, {', '.join(DTYPES)}")


def pick(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Device and dtype behind their names.

    Raises:
        UsageError: for a name we do not know, a device that is not here, or fp16 on a CPU.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    place = torch.device(models.choose_device(device, gpus, torch.backends.mps.is_available()))
    check_dtype(dtype)
    if dtype == "fp16" and place.type == "cpu":
        raise UsageError("fp16 does not run on a CPU; use fp32, or bf16 where its speed does not matter")
    if dtype == "auto":
        return place, torch.bfloat16 if place.type == "cuda" else torch.float32
    return place, DTYPES[dtype]


def located(model: str) -> Path:
    """The absolute folder of a model, fetched from the hub if need be; a folder wins over a hub id of its name.

    `toy` is the model that comes with the package.

    Raises:
        MethodError: if there is no such folder, and it cannot be a hub id.
        NetworkError: if the hub is needed and cannot be reached.
    """
    from diffusers import DiffusionPipeline

    if not model:
        raise UsageError("no model named; give --model FOLDER, a hub id as ORG/NAME@REVISION, or toy")
    if is_folder(model):
        return Path(model).expanduser().resolve()
    if model == toy.NAME:
        return toy.FOLDER
    return fetched(model, DiffusionPipeline.download, use_safetensors=True)


def is_folder(model: str) -> bool:
    """Whether a model's name is a folder here."""
    return bool(model) and Path(model).expanduser().is_dir()


def fetched(model: str, download: Callable[..., str | Path], **options: Any) -> Path:
    """The folder of a hub id `ORG/NAME[@REVISION]` in the hub's cache.

    Args:
        model: the id; a branch or tag is resolved, and the commit is part of the folder's path.
        download: of the hub's libraries, `download(name, revision=, local_files_only=)`.
        options: more for `download`.

    Raises:
        MethodError: if it cannot be a hub id.
        NetworkError: if the hub is needed and cannot be reached.
    """
    if not _HUB_ID.fullmatch(model):
        raise MethodError(f"no model folder {model!r}, and it is no hub id; give a folder, or ORG/NAME@REVISION")
    name, _, revision = model.partition("@")
    try:
        with models.quiet():
            return Path(download(name, revision=revision or None, local_files_only=models.offline(), **options))
    except Exception as error:  # the hub raises a zoo of types; none of them says what to do
        raise NetworkError(
            f"model {model!r} is no folder, is not in the hub's cache and cannot be fetched ({short(error, 90)}); go "
            "online, or give a folder"
        ) from error


_held: dict[tuple[str, torch.device, torch.dtype], Backbone] = {}


def is_tiny(model: str) -> bool:
    """Whether this names one of the random models; a folder of that name wins."""
    return model.startswith("tiny-") and not is_folder(model)


def _is_name(model: str) -> bool:
    """Whether this names a tiny model or a class, rather than a folder or what the hub has."""
    return is_tiny(model) or (":" in model and not is_folder(model))


def _own(name: str, device: torch.device, dtype: torch.dtype) -> Backbone:
    module, _, attribute = name.partition(":")
    try:
        made: Backbone = getattr(importlib.import_module(module), attribute)(device, dtype)
    except Exception as error:  # a stranger's module can raise anything
        raise MethodError(f"backbone {name!r} cannot be made: {short(error)}") from error
    return made


def _diffusers(folder: str, device: torch.device, dtype: torch.dtype) -> Backbone:
    pipe, kind, name = _opened(Path(folder)) if Path(folder).is_absolute() else _tiny(folder)
    mark = content(Path(folder)) if Path(folder).is_absolute() else name
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(device).requires_grad_(False).eval()
    _check_parts(pipe, name)
    masters = {}
    if dtype != torch.float32:
        masters = {"unet": {key: value.cpu().clone() for key, value in pipe.unet.state_dict().items()}}
        pipe.unet.to(dtype)
    backbone = kind(name, mark, pipe, device, dtype, masters)
    backbone.embed([""])  # transformers hangs hooks on a text encoder at its first call; after this nothing changes
    return backbone


def _check_parts(pipe: Any, name: str) -> None:
    """Refuse models whose parts want what these backbones do not give."""
    unet = pipe.unet.config
    strange = [
        key for key in ("class_embed_type", "num_class_embeds", "time_cond_proj_dim") if getattr(unet, key, None)
    ]
    if unet.in_channels != unet.out_channels:
        strange.append(f"in_channels={unet.in_channels}")
    if strange:
        raise MethodError(f"model {name!r}: its U-Net has {strange[0]}, which no backbone here feeds; use a base model")
    vae = pipe.vae.config
    if getattr(vae, "latents_mean", None) is not None or getattr(vae, "latents_std", None) is not None:
        raise MethodError(f"model {name!r} standardises its latents, which no backbone here does; use another")
    if pipe.config.get("requires_aesthetics_score") or pipe.text_encoder is None:
        raise MethodError(f"model {name!r} is a refiner (aesthetics score, one encoder); give the base model")


def _tiny(name: str) -> tuple[Any, type[StableDiffusion], str]:
    from tedbench_methods.backbones import tiny

    pipe = tiny.pipeline(name)
    return pipe, _backbone_class(type(pipe).__name__, name), name


def _opened(folder: Path) -> tuple[Any, type[StableDiffusion], str]:
    """A pipeline read from a folder, its backbone's class, and a name that tells it from other models."""
    index = read_index(folder)
    kind = _backbone_class(str(index.get("_class_name")), folder.name)
    return open_pipeline(folder, str(index["_class_name"])), kind, identity(folder)


def read_index(folder: Path) -> dict[str, Any]:
    """A model's model_index.json, once every part it names has safetensors.

    Raises:
        MethodError: if it is no model in diffusers' format, or a part has none.
    """
    try:
        index: dict[str, Any] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        parts = [part for part in WEIGHTS if index.get(part, [None])[0]]
    except (OSError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise MethodError(
            f"{folder.name!r} is no model in diffusers' format (model_index.json: {short(error, 60)}); save one with "
            "pipeline.save_pretrained(FOLDER)"
        ) from error
    for part in parts:
        if not any((folder / part).glob("*.safetensors")):
            raise MethodError(
                f"model {folder.name!r} has no safetensors in {part}/; pickled weights are not read: save it again "
                "with safe_serialization=True"
            )
    return index


def open_pipeline(folder: Path, kind: str | type[Any], dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """A diffusers pipeline of a class, or a class's name, from a folder; without random-number and log side effects.

    Raises:
        MethodError: if it does not load.
    """
    import diffusers

    stored = [file.name for network in ("unet", "transformer") for file in folder.glob(f"{network}/*.safetensors")]
    half = bool(stored) and all(".fp16." in name for name in stored)
    cls = getattr(diffusers, kind) if isinstance(kind, str) else kind
    if "safety_checker" in cls._optional_components:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        with models.quiet(), torch.random.fork_rng(devices=[]):
            return cls.from_pretrained(
                folder, use_safetensors=True, variant="fp16" if half else None, dtype=dtype,
                local_files_only=True, **options,
            )  # fmt: skip
    except Exception as error:  # diffusers and transformers raise whatever broke
        raise MethodError(f"model {folder.name!r} does not load: {short(error)}") from error


def identity(folder: Path) -> str:
    """`NAME@COMMIT` for a folder of the hub's cache, `NAME-HASH8` over all weights and configuration for another."""
    if folder.parent.name == "snapshots":
        return f"{folder.parent.parent.name.removeprefix('models--').replace('--', '/')}@{folder.name}"
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', folder.name)}-{content(folder)[:8]}"


def revision(model: str) -> str:
    """What a model is, wherever it lies: a name, `NAME@COMMIT` of the hub's cache, or the digest of its content.

    Raises:
        MethodError, NetworkError, UsageError: as `located`.
    """
    if _is_name(model):
        return model
    folder = located(model)
    return identity(folder) if folder.parent.name == "snapshots" else content(folder)


def content(folder: Path) -> str:
    """Hex digest over the names and contents of a model's weights and configuration."""
    files = sorted(path for pattern in ("*.safetensors", "*.json", "merges.txt") for path in folder.rglob(pattern))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{models.file_sha256(path)}".encode())
    return digest.hexdigest()


def _backbone_class(class_name: str, model: str) -> type[StableDiffusion]:
    if class_name not in PIPELINES:
        raise MethodError(f"model {model!r} is a {class_name}; backbones exist for {', '.join(PIPELINES)}")
    return PIPELINES[class_name]
