"""Fixtures that more than one mirror needs."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.pop("TEDBENCH_DATA", None)  # what a developer has set must not decide what a test sees
ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_finish() -> None:
    """What is loaded by now stays: libraries that collect garbage, statsmodels at each call, need not look at it."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # extensions count what is left at the end as leaks


@pytest.fixture(scope="session")
def real_data() -> Path:
    """TEdBench as released, with 40 of the authors' results."""
    folder = SHARED / "data" / "tedbench"
    if not folder.is_dir():
        pytest.skip("TEdBench is not beside this checkout; no licence lets us ship it")
    return folder


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run `tedbench` as a user does: a process of its own."""

    def run(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("tedbench"), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, Path]:
    """A data set of drawn pictures, and edits of them: (data folder, edits folder)."""
    from tedbench.datasets import drawn as drawing

    return drawing.write(tmp_path / "drawn", n=6)


@pytest.fixture(scope="session")
def reference_lpips() -> Callable[..., object]:
    """The `lpips` package's own forward, with the AlexNet backbone we ship: the oracle."""
    import warnings

    import lpips
    import torch
    from safetensors.torch import load_file

    import tedbench_metrics

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    backbone = Path(tedbench_metrics.__file__).parent / "weights" / "lpips_alex_backbone.safetensors"
    model.net.load_state_dict(load_file(backbone))
    return model.eval()
