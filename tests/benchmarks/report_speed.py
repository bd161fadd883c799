"""How long a report of a full table takes to build, and what its page loads when it is opened.

    python tests/benchmarks/report_speed.py --out results/benchmarks/report_speed.json

Synthetic rows with pictures: 100 pairs on 39 photos × 6 methods × 11 strengths × 5 seeds, scored by six metrics. The
run is written to a temporary folder; `--side` is the size of its pictures.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tedbench import environment, images, report, store
from tedbench.types import Cell, DatasetInfo, EditPair, ImageFile, MetricFacts, Run

PAIRS, PHOTOS, METHODS, STRENGTHS, SEEDS = 100, 39, 6, 11, 5
METRICS = (
    ("lpips-alex@256", {"family": "lpips"}, False), ("clip-text@A", {"family": "clip-text", "backbone": "A"}, True),
    ("clip-text@B", {"family": "clip-text", "backbone": "B"}, True), ("dino", {"family": "dino"}, True),
    ("psnr", {"family": "psnr"}, True), ("success", {"family": "oracle-both", "values": "binary"}, True),
)  # fmt: skip


def write_run(folder: Path, side: int, pairs: int = PAIRS) -> Path:
    """A run of pictures of that many pixels, and rows that rise with the strength."""
    rng = np.random.default_rng(0)
    info = DatasetInfo("synthetic", "folder", "", "0" * 64)
    knobs = {f"m{k}": {"name": "eta", "symbol": "η", "default": 0.7} for k in range(METHODS)}
    run = Run(folder.name, environment.now(), "run", info, {name: {} for name in knobs}, (), {}, {}, "", knobs=knobs)
    questions = [
        EditPair(f"p{k:03}", ImageFile(f"{k}.png", "1" * 64), f"Thing {k}.", f"i{k % PHOTOS}", category=f"c{k % 6}")
        for k in range(pairs)
    ]  # fmt: skip
    facts = {f"{spec}/id": MetricFacts(spec, f"{spec}/id", better, -1.7e308, 1.7e308, f) for spec, f, better in METRICS}
    with store.new_folder(folder) as scratch:
        cells = list(_cells(scratch, questions, side, rng))
        store.write_run(scratch, run, questions, cells)
    store.write_scores(store.open_run(folder), list(_rows(cells, facts, rng)), facts)
    return folder


def _cells(folder: Path, pairs: list[EditPair], side: int, rng: np.random.Generator) -> Iterator[Cell]:
    for pair in pairs:
        pngs = [_png(side, rng.integers(0, 190, 3) + step) for step in range(STRENGTHS)]  # methods and seeds share them
        for method, seed, step in itertools.product(range(METHODS), range(SEEDS), range(STRENGTHS)):
            file = folder / "images" / f"m{method}" / pair.uid / f"s{seed}-{step}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pngs[step])
            yield Cell(
                pair.uid, pair.image_id, pair.category, f"m{method}", seed, step / 10, "ok",
                str(file.relative_to(folder)), images.sha256(pngs[step]), fit_seconds=9.0, edit_seconds=2.0,
            )  # fmt: skip


def _png(side: int, colour: Any) -> bytes:
    """A smooth picture: noise is stored at its full size."""
    ramp = np.linspace(0, 60, side)
    pixels = (ramp[:, None, None] + ramp[None, :, None] / 2 + colour).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _rows(cells: list[Cell], facts: dict[str, MetricFacts], rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for cell in cells:
        base = {"uid": cell.uid, "image_id": cell.image_id, "category": cell.category, "method": cell.method,
                "seed": cell.seed, "strength": cell.strength}  # fmt: skip
        rise = float(cell.strength or 0) * (1 + 0.1 * int(cell.method[1:]))
        for identity, one in facts.items():
            value = rise / 2 + 0.1 * float(rng.gamma(2.0))
            yield {**base, "metric": identity, "value": float(rng.random() < rise) if one.binary else value}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, nargs="+", default=[64, 512])
    asked = parser.parse_args()
    found = []
    for side in asked.side:
        with tempfile.TemporaryDirectory() as folder:
            run = write_run(Path(folder) / "run", side)
            started, spent = time.perf_counter(), time.process_time()
            report.write_report([run], Path(folder) / "report")
            seconds, cpu = time.perf_counter() - started, time.process_time() - spent
            page = (Path(folder) / "report" / "index.html").read_text(encoding="utf-8")
            found.append({
                "side": side, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1),
                "page_bytes": len(page.encode()), "pictures_in_page": len(_pictures(page)),
                "pairs_in_page": len(_album(page)["cards"]),
            })  # fmt: skip
            print(found[-1])
    size = {"pairs": PAIRS, "photos": PHOTOS, "methods": METHODS, "strengths": STRENGTHS, "seeds": SEEDS,
            "metrics": len(METRICS)}  # fmt: skip
    made = {"made": environment.now(), "hardware": environment.hardware(), "versions": environment.versions()}
    asked.out.write_text(json.dumps({**size, "reports": found, **made}, indent=2) + "\n", encoding="utf-8")


def _album(page: str) -> dict[str, Any]:
    held = re.search(r'<script type="application/json" id="album">(.*?)</script>', page)
    return json.loads(held[1]) if held else {"cards": [], "pictures": []}


def _pictures(page: str) -> list[str]:
    return list(_album(page)["pictures"])


if __name__ == "__main__":
    main()
