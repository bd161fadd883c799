"""What a number depends on besides the image: data, runs and metrics, as lines of (key, value)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from tedbench.report import text
from tedbench.report.table import Material


def caption_lines(material: Material) -> list[str]:
    """A sentence where source texts were added to the data set."""
    named = [run.dataset.captions for run in material.runs.values()] + [m.captions for m in material.metrics.values()]
    used = sorted({name for name in named if name})
    return [f"Source texts are not part of the data set; they were added: {', '.join(used)}"] if used else []


def data_lines(material: Material) -> list[tuple[str, str]]:
    """The data set, as (key, value)."""
    info = material.dataset
    return _filled({
        "data set": info.name, "part": info.part, "source": info.source, "revision": info.revision,
        "list sha256": info.sha256,
        "captions": ", ".join(sorted({run.dataset.captions for run in material.runs.values()})),
        "pairs": len(material.pairs), "photos": int(material.pairs["image_id"].nunique()),
    })  # fmt: skip


def run_lines(material: Material, name: str) -> list[tuple[str, str]]:
    """One run, as (key, value)."""
    run = material.runs[name]
    methods = {f"method {method}": _fields(fields) for method, fields in run.methods.items()}
    methods |= {f"execution {method}": _fields(how) for method, how in run.execution.items()}
    return _filled({
        "kind": run.kind, "created": run.created, **methods, "command": shlex.join(run.command),
        "commit": run.git_commit, "versions": _fields(run.versions), "hardware": _fields(run.hardware),
    })  # fmt: skip


def metric_lines(material: Material, identity: str) -> list[tuple[str, str]]:
    """One metric, as (key, value)."""
    facts = material.metrics[identity]
    notes = {f"note {k}": note for k, note in enumerate(facts.notes, start=1)}
    better = "higher is better" if facts.higher_is_better else "lower is better"
    return _filled({
        "asked for as": facts.spec, "reads": f"{better}, from {facts.ends[0]} to {facts.ends[1]}",
        "facts": _fields(facts.facts), **notes, "versions": _fields(facts.versions),
    })  # fmt: skip


def _fields(fields: Mapping[str, Any]) -> str:
    shown = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str) for k, v in fields.items()}
    return ", ".join(f"{k} {v}" for k, v in shown.items() if v != "")


def _filled(lines: Mapping[str, object]) -> list[tuple[str, str]]:
    return [(text.clean(key), text.clean(value)) for key, value in lines.items() if value != ""]
