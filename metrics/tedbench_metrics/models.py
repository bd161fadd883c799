"""What the metrics with a network share: which folder a model is, its hash, the device, and how to run it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tedbench import images
from tedbench.errors import MetricError, NetworkError, UsageError, short
from tedbench.models import check_device, choose_device, file_sha256, offline, quiet, quiet_bars

if TYPE_CHECKING:
    from PIL.Image import Image

    from tedbench.types import EditPair

__all__ = [
    "Folder", "by_image", "check", "check_batch", "check_device", "chunks", "construction", "distinct", "inference",
    "is_folder", "is_local", "offline", "pick_device", "quiet_bars", "resolve", "sha256",
]  # fmt: skip

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_CONFIGURATION = ("*.json", "merges.txt", "vocab.txt", "*.model")
"""Preprocessing, architecture and tokenizer, as folders on the hub name them."""
_HUB, _LOCAL = "hf-hub:", "local-dir:"
SHIPPED = ("toy-clip-a", "toy-clip-b")
"""Models of the toy world, in `weights/`."""
_WEIGHTS = Path(__file__).with_name("weights")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Folder:
    """A model on disk: everything that tells it from another one."""

    path: Path
    label: str
    """Folder name or hub id, fit for an identity."""
    weights: tuple[Path, ...]
    hash8: str
    """First 8 hex digits of a sha256 over weights and configuration files."""

    @property
    def name(self) -> str:
        """`LABEL-HASH8`."""
        return f"{self.label}-{self.hash8}"


def resolve(model: str, weights: Sequence[str]) -> Folder:
    """The folder of a model: `local-dir:PATH`, a plain existing folder, or a hub id `[hf-hub:]ORG/NAME[@REV]`.

    Args:
        model: as the user typed it.
        weights: patterns of weights files; the first that matches anything wins.

    Raises:
        MetricError: if the folder or its weights are not there.
        NetworkError: if the hub cannot be reached and the model is not in its cache.
    """
    model = shipped(model)
    plain = model.removeprefix(_LOCAL)
    if model.startswith(_LOCAL) or (not model.startswith(_HUB) and Path(plain).expanduser().is_dir()):
        path = Path(plain).expanduser().resolve()
        if not path.is_dir():
            raise MetricError(f"no folder {plain!r} for the model; give an existing folder or hf-hub:ORG/NAME")
        return _describe(path, path.name, weights)
    name, _, revision = model.removeprefix(_HUB).partition("@")
    if not _HUB_ID.fullmatch(name):
        raise MetricError(f"{model!r} is no existing folder and no hub id; give local-dir:PATH or hf-hub:ORG/NAME")
    for pattern in weights:
        path = _snapshot(name, revision or None, pattern)
        if any(path.glob(pattern)):
            break
    return _describe(path, name.replace("/", "--"), weights)


def shipped(model: str) -> str:
    """The folder of a model that comes with the package, where this names one; else the name as it is."""
    return f"{_LOCAL}{_WEIGHTS / model}" if model in SHIPPED else model


def is_folder(model: str) -> bool:
    """Whether `resolve`, rather than a list of known names, must say what this is."""
    model = shipped(model)
    return model.startswith((_HUB, _LOCAL)) or Path(model).expanduser().is_dir()


def is_local(model: str) -> bool:
    """Whether a model is a folder of the user's own, of which nobody can say which published network it is.

    One of the toy world's that ship is no published one either.
    """
    model = shipped(model)
    return model.startswith(_LOCAL) or (not model.startswith(_HUB) and Path(model).expanduser().is_dir())


def sha256(path: Path) -> str:
    """Hex digest of a file; remembered until the file changes.

    Raises:
        MetricError: if it cannot be read.
    """
    try:
        return file_sha256(path)
    except OSError as error:
        raise MetricError(f"weights {path}: cannot be read ({error.strerror or error}); check the path") from error


def pick_device(device: str) -> str:
    """`auto` is the GPU where there is one; anything else is itself.

    Raises:
        UsageError: for no device's name, or a device that is not here.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return choose_device(device, gpus, torch.backends.mps.is_available())


@contextmanager
def inference(device: str) -> Iterator[None]:
    """No gradients, and on a GPU full float32: TF32 keeps 10 bits of mantissa, which moves the third decimal."""
    import torch

    with torch.inference_mode():
        if not device.startswith("cuda"):
            yield
            return
        matmul = torch.get_float32_matmul_precision()
        cudnn = torch.backends.cudnn
        torch.set_float32_matmul_precision("highest")
        try:
            with cudnn.flags(enabled=cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False):
                yield
        finally:
            torch.set_float32_matmul_precision(matmul)


@contextmanager
def construction() -> Iterator[None]:
    """Build a network without its side effects: a moved global generator, warnings, log lines and progress bars."""
    import torch

    with torch.random.fork_rng(devices=[]), quiet():
        yield


def by_image(
    pairs: Sequence[EditPair], edits: Sequence[Image], masked: bool = False
) -> list[tuple[EditPair, list[int]]]:
    """Positions of the edits of each distinct source image, in order of first appearance.

    Args:
        pairs: one per edit.
        edits: RGB images.
        masked: whether pairs with one image and two masks are two groups.

    Raises:
        MetricError: if pairs and edits are not equally many.
    """
    check(pairs, edits)
    groups: dict[Hashable, list[int]] = {}
    for i, pair in enumerate(pairs):
        groups.setdefault((pair.image, pair.mask if masked else None), []).append(i)
    return [(pairs[where[0]], where) for where in groups.values()]


def check(pairs: Sequence[EditPair], edits: Sequence[Image]) -> None:
    """Refuse what is no list of RGB images, one per pair.

    Raises:
        MetricError: if pairs and edits are not equally many.
        ImageError: if an edit is no 8-bit RGB Pillow image.
    """
    if len(pairs) != len(edits):
        raise MetricError(f"{len(pairs)} pairs but {len(edits)} images; give one image per pair")
    for edit in edits:
        if getattr(edit, "mode", None) != "RGB":
            images.to_uint8(edit)


def check_batch(batch: int) -> None:
    """Refuse a batch size under one.

    Raises:
        UsageError: for such a size.
    """
    if batch < 1:
        raise UsageError(f"batch {batch!r} is not a whole number from 1; try 16")


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive runs of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def distinct(items: Sequence[K]) -> tuple[list[K], list[int]]:
    """The distinct items in order of first appearance, and for every item its position among them."""
    order = {item: i for i, item in enumerate(dict.fromkeys(items))}
    return list(order), [order[item] for item in items]


def _describe(path: Path, label: str, weights: Sequence[str]) -> Folder:
    found = next((hit for pattern in weights if (hit := tuple(sorted(path.glob(pattern))))), ())
    if not found:
        raise MetricError(f"no weights in model folder {label!r} ({' or '.join(weights)}); put them there")
    # The configuration moves the number as the weights do: activation, mean and std, tokenizer.
    digests = [sha256(file) for file in (*found, *_configuration(path))]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return Folder(path, re.sub(r"[^\w.-]+", "-", label), found, digest[:8])


def _configuration(path: Path) -> list[Path]:
    return sorted({file for pattern in _CONFIGURATION for file in path.glob(pattern)})


def _snapshot(name: str, revision: str | None, pattern: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        with quiet_bars():
            return Path(snapshot_download(name, revision=revision, allow_patterns=[*_CONFIGURATION, pattern]))
    except Exception as error:  # the hub raises a zoo of types; none of them says what to do
        raise NetworkError(
            f"model {name!r} is not in the hub's cache and cannot be fetched ({short(error, 90)}); "
            "go online, or give local-dir:PATH"
        ) from error
