"""What the metrics with a network share: which folder a model is, its hash, the device, and how to run it."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tedbench import images
from tedbench.errors import MetricError, NetworkError, UsageError, short

if TYPE_CHECKING:
    from PIL.Image import Image

    from tedbench.types import EditPair

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

_CONFIGURATION = ("*.json", "merges.txt", "vocab.txt", "*.model")
"""Preprocessing, architecture and tokenizer, as folders on the hub name them."""
_HUB, _LOCAL = "hf-hub:", "local-dir:"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)


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


def is_folder(model: str) -> bool:
    """Whether `resolve`, rather than a list of known names, must say what this is."""
    return model.startswith((_HUB, _LOCAL)) or Path(model).expanduser().is_dir()


def is_local(model: str) -> bool:
    """Whether a model is a folder of the user's own, of which nobody can say which published network it is."""
    return model.startswith(_LOCAL) or (not model.startswith(_HUB) and Path(model).expanduser().is_dir())


def sha256(path: Path) -> str:
    """Hex digest of a file; remembered until the file changes.

    Raises:
        MetricError: if it cannot be read.
    """
    try:
        stat = path.stat()
        return _sha256(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise MetricError(f"weights {path}: cannot be read ({error.strerror or error}); check the path") from error


def check_device(device: str) -> None:
    """Refuse what is no device's name; loads nothing, and so cannot say whether the device is there.

    Raises:
        UsageError: for such a name.
    """
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise UsageError(f"no device {device!r}; known: auto, cpu, cuda, cuda:N, mps")


def pick_device(device: str) -> str:
    """`auto` is the GPU where there is one; anything else is itself.

    Raises:
        UsageError: for no device's name, or a device that is not here.
    """
    import torch

    check_device(device)
    kind, _, index = device.partition(":")
    if kind == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps' is not available here; use auto or cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {device!r} is not available: no CUDA GPU here; use auto or cpu")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UsageError(f"device {device!r} is not available: the last GPU here is cuda:{last}; use that or cuda")
    return device


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
    """Build a network without its side effects: a moved global generator, warnings, log lines and progress bars.

    What goes wrong is raised; the log line that open_clip and the hub write besides would be said twice.
    """
    import torch

    level = logging.root.manager.disable
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            with quiet_bars():
                yield
        finally:
            logging.disable(level)


@contextmanager
def quiet_bars() -> Iterator[None]:
    """No bar of transformers for loading weights; none of the hub for fetching them where stderr is no terminal."""
    from huggingface_hub import utils as hub

    fetching = not hub.are_progress_bars_disabled()
    log = sys.modules.get("transformers.utils.logging")
    loading = log if log is not None and log.is_progress_bar_enabled() else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the hub warns where its environment variable has the last word
        if loading:
            loading.disable_progress_bar()  # the hub's too
        _bars(fetching and sys.stderr.isatty())
        try:
            yield
        finally:
            if loading:
                loading.enable_progress_bar()
            _bars(fetching)


def _bars(shown: bool) -> None:
    from huggingface_hub import utils as hub

    (hub.enable_progress_bars if shown else hub.disable_progress_bars)()


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


def offline() -> bool:
    """Whether the user asked for no network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


@functools.cache
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    del mtime_ns, size  # only there to forget the hash of a file that changed
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
