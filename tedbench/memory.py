"""The most memory that a stretch of work held, of the process and of the accelerator, without loading a library."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class Peak:
    """Bytes; None where they cannot be told."""

    host: int | None
    """Resident memory of the process, what was loaded before included. Linux tells."""
    device: int | None
    """Allocated by torch on all CUDA devices, what was loaded before included."""


def forget() -> bool:
    """Begin a stretch: what was held before and is not held any more counts no longer.

    Returns:
        Whether the process's memory can be told: without the right to forget, a peak would be of all that came before.
    """
    for cuda in _cuda():
        for device in range(cuda.device_count()):
            cuda.reset_peak_memory_stats(device)
    try:
        (_PROCESS / "clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM
    except OSError:
        return False
    return True


def peak(forgotten: bool) -> Peak:
    """The most since `forget()`, which has said `forgotten`."""
    device = [sum(cuda.max_memory_allocated(k) for k in range(cuda.device_count())) for cuda in _cuda()]
    return Peak(_resident() if forgotten else None, device[0] if device else None)


def _resident() -> int | None:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        return None
    return int(found[1]) * 1024 if found else None


def _cuda() -> list[Any]:
    """torch.cuda, if a method has loaded torch and uses it."""
    torch = sys.modules.get("torch")
    return [torch.cuda] if torch is not None and torch.cuda.is_initialized() else []
