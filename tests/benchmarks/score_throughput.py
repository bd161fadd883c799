"""Scoring LPIPS-alex: ours against the plain loop, decoding included in both.

    python tests/benchmarks/score_throughput.py --pairs 100 --edits 11 --out FILE.json [--data FOLDER_OF_ORIGINALS]

The plain loop is what most evaluation scripts do: for each edit decode both files, resize, one forward pass.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

from tedbench import images
from tedbench.types import EditPair
from tedbench_metrics import lpips, models

Case = tuple[Path, list[Path]]


def draw(rng: np.random.Generator, size: int) -> Image.Image:
    """A smooth picture with some grain: compresses about as a photo does."""
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (size, size, 3))
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


def prepare(folder: Path, args: argparse.Namespace) -> list[Case]:
    """Write sources and edits as PNG files; with `--data` the sources are the originals there."""
    rng = np.random.default_rng(0)
    originals = sorted(p for p in args.data.iterdir() if p.suffix in images.SUFFIXES) if args.data else []
    cases = []
    for i in range(args.pairs):
        source = folder / f"source{i}.png" if not originals else originals[i % len(originals)]
        if not originals:
            draw(rng, args.side).save(source)
        base = images.fit(decode(source), args.side)
        edits = []
        for k in range(args.edits):
            edits.append(folder / f"{i}-{k}.png")
            base.filter(ImageFilter.GaussianBlur(k)).save(edits[-1], compress_level=1)
        cases.append((source, edits))
    return cases


def decode(path: Path) -> Image.Image:
    """Read and decode one file."""
    return images.decode(path.read_bytes(), path.name)


def plain(network: Any, cases: Sequence[Case], size: int) -> list[float]:
    """One image at a time."""
    values = []
    for source, edits in cases:
        for edit in edits:
            a, b = (decode(path) for path in (source, edit))
            x, y = (torch.from_numpy(images.to_signed(images.fit(i, size)))[None] for i in (a, b))
            with torch.no_grad():
                values.append(float(network(x, y)))
    return values


def decoded(cases: Sequence[Case], group: int, pool: ThreadPoolExecutor) -> Iterator[tuple[Any, Any]]:
    """Pairs and edits of some cases at a time, the next ones decoded meanwhile."""

    def start(some: Sequence[Case]) -> Any:
        return some, [pool.submit(decode, p) for _, e in some for p in e]

    waiting = [start(some) for some in [cases[:group]]]
    for at in range(0, len(cases), group):
        some, futures = waiting.pop()
        if cases[at + group :]:
            waiting.append(start(cases[at + group : at + 2 * group]))
        files = [(images.file_from_path(s), len(e)) for s, e in some]
        pairs = [EditPair(f.name, f, "", f.sha256) for f, n in files for _ in range(n)]
        yield pairs, [future.result() for future in futures]


def ours(metric: lpips.LpipsAlex, cases: Sequence[Case], workers: int) -> list[float]:
    """Groups of pairs, decoded ahead."""
    with ThreadPoolExecutor(workers) as pool:
        return [v for pairs, edits in decoded(cases, 4, pool) for v in metric.score(pairs, edits)]


def timed(function: Any, *args: Any) -> tuple[float, list[float]]:
    """Seconds and result."""
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def main() -> None:
    """Time both and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--edits", type=int, default=11)
    parser.add_argument("--size", type=int, default=256, help="side at which LPIPS is computed")
    parser.add_argument("--side", type=int, default=256, help="side of the files of edits")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1, help="threads that decode")
    parser.add_argument("--data", type=Path, help="folder of real originals")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    metric = lpips.LpipsAlex(size=args.size, batch=args.batch, device="cpu")
    with models.construction():
        import lpips as package

        reference = package.LPIPS(net="alex", pnet_rand=True, verbose=False)
    reference.net.load_state_dict(lpips.load("alex", None, "", "cpu").net.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        cases = prepare(Path(folder), args)
        plain(reference, cases[:1], args.size), ours(metric, cases[:1], args.workers)  # warm up
        slow, want = timed(plain, reference, cases, args.size)
        fast, got = timed(ours, metric, cases, args.workers)
    report = {
        "pairs": args.pairs, "edits": args.edits, "size": args.size, "side": args.side, "batch": args.batch,
        "data": "originals" if args.data else "drawn", "plain_seconds": round(slow, 3), "our_seconds": round(fast, 3),
        "ratio": round(slow / fast, 2), "max_abs_difference": max(abs(a - b) for a, b in zip(got, want, strict=True)),
        "threads": torch.get_num_threads(), "workers": args.workers, "python": sys.version.split()[0],
        **{name: importlib.metadata.version(name) for name in ("torch", "torchvision", "lpips", "pillow", "numpy")},
    }  # fmt: skip
    text = json.dumps(report, indent=1)
    sys.stdout.write(text + "\n")
    if args.out:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
