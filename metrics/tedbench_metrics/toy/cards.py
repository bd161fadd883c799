"""The README.md beside each network's weights: what it learnt from, how long, where, and how good it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from tedbench import environment
from tedbench.datasets import toy
from tedbench_metrics.toy import training
from tedbench_metrics.toy.album import Pages, world_hash
from tedbench_metrics.toy.reader_checks import Quality


def write(folder: Path, title: str, sections: Iterable[str]) -> None:
    """Put a card together."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n\n".join([f"# {title}", *sections]) + "\n", encoding="utf-8")


def origin(command: str, plan: training.Plan, progress: training.Progress, pages: Pages, device: str) -> str:
    """What it learnt from, how long and where."""
    hardware = environment.hardware()
    where = torch.cuda.get_device_name() if device.startswith("cuda") else hardware["cpu"]
    losses = progress.losses
    return table(
        ("what", "value"),
        [
            ("made by", f"`python -m tedbench_metrics.toy {command}`"),
            ("world", f"part `{pages.part}` of the toy world, sources {world_hash()}"),
            ("pictures", f"{pages.groups * pages.each:,} in groups of {pages.each} of one picture seed"),
            ("steps", f"{progress.step:,} of {plan.batch} pictures"),
            ("seed", str(plan.seed)),
            ("rate, decay, average", f"{plan.rate:g}, {plan.weight_decay:g}, {plan.average:g}"),
            ("loss", f"{losses[0]:.3f} at first, {losses[-1]:.3f} at last"),
            ("time", f"{progress.seconds / 60:.1f} min"),
            ("hardware", f"{where}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"),
            ("arithmetic", "bfloat16 products in the image network" if plan.bf16 else "float32"),
            ("licence", "as the package; the pictures are drawn by its own code"),
        ],
    )


def duels(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Of accuracies by style of caption, then attribute, then kind."""
    columns = [(style, kind) for style, by_name in found.items() for kind in next(iter(by_name.values()))]
    rows = [
        (name, *(f"{found[style][name][kind]:.3f}" for style, kind in columns)) for name in next(iter(found.values()))
    ]
    return table(("attribute", *(f"{style}, {kind}" for style, kind in columns)), rows)


def readings(found: Mapping[str, Quality]) -> str:
    """Of qualities by kind of picture."""
    names = next(iter(found.values())).accuracy
    rows = [(name, *(f"{quality.accuracy[name]:.4f}" for quality in found.values())) for name in names]
    rows.append(("sides of the box, mean error in pixels", *(f"{quality.box:.2f}" for quality in found.values())))
    rows.append(("refused", *(f"{quality.refused:.4f}" for quality in found.values())))
    return table(("read right", *found), rows)


def refusals(found: Mapping[str, float]) -> str:
    """Of parts refused."""
    return table(("kind", "refused"), [(name, f"{part:.3f}") for name, part in found.items()])


def confusion(name: str, quality: Quality) -> str:
    """Counts, a row for each true value."""
    values = toy.ATTRIBUTES[name]
    counts = quality.confusion[name].tolist()
    return table((f"{name} ↓ read as →", *values), [(v, *map(str, row)) for v, row in zip(values, counts, strict=True)])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
