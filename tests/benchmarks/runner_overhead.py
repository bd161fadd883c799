"""What the runner costs beside the method, and how that grows: a method that returns its input, 64 × 64.

    OMP_NUM_THREADS=1 python tests/benchmarks/runner_overhead.py --out results/benchmarks/runner_overhead.json

Of each number of cells: seconds a cell of `tedbench run`, less those of encoding and writing the same PNGs with one
sync a sweep; seconds that opening and planning the finished run takes; the most memory of the planning process. A sweep
has one strength, which is the worst case: every cell has a line and a sync of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tedbench import disk, environment, images
from tedbench.config import MethodConfig, RunConfig
from tedbench.running import runner

ECHO = """
from dataclasses import dataclass
from typing import ClassVar

from tedbench import images
from tedbench.types import Strength


@dataclass(frozen=True)
class Echo:
    strength: ClassVar = Strength("none", "–", default=0.0, grid=(0.0,), low=0.0, high=0.0)

    def fit(self, pair, seed):
        return None

    def edit(self, pair, state, strengths, seed):
        return [images.read(pair.image)] * len(strengths)
"""
PAIRS = 100


def data(folder: Path) -> Path:
    """A hundred pictures of 64 × 64, each asked one question."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["image,target_text"]
    for at in range(PAIRS):
        small = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"p{at:03}.png")
        rows.append(f"p{at:03}.png,a picture {at}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def asked(folder: Path, cells: int) -> RunConfig:
    seeds = tuple(range(cells // PAIRS))
    return RunConfig((MethodConfig("echoing:Echo"),), "folder", folder, seeds=seeds)


def resident() -> float:
    """The most memory that this process has held, in MiB; what its parent held does not count."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def writing(folder: Path, cells: int) -> float:
    """Seconds of encoding and writing as many PNGs, with a line and a sync each: what no runner can do without."""
    rng = np.random.default_rng(1)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
        for _ in range(PAIRS)
    ]
    folder.mkdir()
    began = time.perf_counter()
    with (folder / "list").open("ab") as file:
        for at in range(cells):
            data = images.encode_png(pictures[at % PAIRS])
            disk.write_atomic(folder / f"{at}.png", data, durable=False)
            file.write(images.sha256(data).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - began


def planned(folder: Path, out: Path, cells: int) -> dict[str, float]:
    """Seconds and memory of opening and planning, in a process of its own."""
    code = (
        "import json, sys, time\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[4])\n"
        "sys.path.insert(0, sys.argv[5])\n"
        "import runner_overhead as bench\n"
        "from tedbench.running import planning\n"
        "began = time.perf_counter()\n"
        "lines = planning.plan(bench.asked(Path(sys.argv[1]), int(sys.argv[3])), Path(sys.argv[2]))\n"
        "taken = time.perf_counter() - began\n"
        "assert lines[0].left == 0, lines\n"
        "peak = bench.resident()\n"
        "print(json.dumps({'plan_seconds': taken, 'plan_mebibytes': peak}))\n"
    )
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", code, str(folder), str(out), str(cells), str(folder.parent), here]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measured(folder: Path, place: Path, cells: int) -> dict[str, Any]:
    out = place / f"run{cells}"
    began = time.perf_counter()
    ran = runner.run(asked(folder, cells), out)
    taken = time.perf_counter() - began
    assert ran.ok == cells, ran
    base = writing(place / f"write{cells}", cells)
    peak = resident()
    return {
        "cells": cells,
        "ms_a_cell": 1000 * taken / cells,
        "ms_writing": 1000 * base / cells,
        "ms_overhead": 1000 * (taken - base) / cells,
        "run_mebibytes_so_far": peak,
        **planned(folder, out, cells),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--cells", type=int, nargs="*", default=[1000, 10_000, 100_000])
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (place / "echoing.py").write_text(ECHO)
        sys.path.insert(0, str(place))
        folder = data(place / "data")
        rows = [measured(folder, place, cells) for cells in told.cells]
    found = {"rows": rows, "versions": environment.versions(), "hardware": environment.hardware()}
    text = json.dumps(found, indent=1)
    print(text) if told.out is None else told.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
