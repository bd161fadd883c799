"""Where a number was made: versions, hardware, commit, time."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_LIBRARIES = ("tedbench-editing", "torch", "torchvision", "lpips", "open-clip-torch", "transformers", "diffusers",
              "pillow", "numpy", "scikit-image", "pandas", "scipy")  # fmt: skip


def versions() -> dict[str, str]:
    """Python and the libraries that can move a number."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware() -> dict[str, str | int]:
    """Machine type, processor and cores; no host name."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 0,
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def git_commit() -> str:
    """Commit of the checkout this code runs from, `-dirty` if files differ from it; empty outside a checkout."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists() or shutil.which("git") is None:
        return ""
    described = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip()


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
