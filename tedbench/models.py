"""What loading any model needs, without loading one: names of devices, the hash of a file, and quiet."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tedbench.errors import UsageError

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?", re.ASCII)


def check_device(device: str) -> None:
    """Refuse what is no device's name; loads nothing, and so cannot say whether the device is there.

    Raises:
        UsageError: for such a name.
    """
    if not isinstance(device, str) or not _DEVICE.fullmatch(device):
        raise UsageError(f"no device {device!r}; known: auto, cpu, cuda, cuda:N, mps")


def choose_device(device: str, gpus: int, mps: bool) -> str:
    """`auto` is the GPU where there is one; anything else is itself.

    Args:
        device: as the user typed it.
        gpus: CUDA devices here, as torch counts them.
        mps: whether Apple's GPU is here.

    Raises:
        UsageError: for no device's name, or a device that is not here.
    """
    check_device(device)
    kind, _, index = device.partition(":")
    if kind == "auto":
        return "cuda" if gpus else "cpu"
    if kind == "mps" and not mps:
        raise UsageError("device 'mps' is not available here; use auto or cpu")
    if kind == "cuda" and not gpus:
        raise UsageError(f"device {device!r} is not available: no CUDA GPU here; use auto or cpu")
    if kind == "cuda" and index and int(index) >= gpus:
        raise UsageError(f"device {device!r} is not available: the last GPU here is cuda:{gpus - 1}; use that or cuda")
    return device


def offline() -> bool:
    """Whether the user asked for no network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def file_sha256(path: Path) -> str:
    """Hex digest of a file; remembered until the file changes.

    Raises:
        OSError: if it cannot be read.
    """
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, log lines and progress bars of the libraries that load a model.

    What goes wrong is raised; the log line that open_clip and the hub write besides would be said twice.
    """
    level = logging.root.manager.disable
    with warnings.catch_warnings():
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
    names = ("transformers.utils.logging", "diffusers.utils.logging")
    logs = [log for name in names if (log := sys.modules.get(name)) and _bars_enabled(log)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the hub warns where its environment variable has the last word
        for log in logs:
            log.disable_progress_bar()  # transformers' switches the hub's too
        _bars(fetching and sys.stderr.isatty())
        try:
            yield
        finally:
            for log in logs:
                log.enable_progress_bar()
            _bars(fetching)


def _bars_enabled(log: object) -> bool:
    # diffusers has no question for it, only the switch behind it.
    ask = getattr(log, "is_progress_bar_enabled", None)
    return bool(ask() if ask else getattr(log, "_tqdm_active", False))


def _bars(shown: bool) -> None:
    from huggingface_hub import utils as hub

    (hub.enable_progress_bars if shown else hub.disable_progress_bars)()


@functools.cache
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    del mtime_ns, size  # only there to forget the hash of a file that changed
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
