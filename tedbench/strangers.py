"""What a stranger's archive names, and what of it may be made here: no code, file, folder or address of its choice.

A metric is made only if it is installed under its name and nothing that its spec sets can be a path; a method never is,
only the class of an installed one is looked at, since it says by which strength a report shows it.
"""

from __future__ import annotations

import re
from pathlib import Path

from tedbench import naming, registry
from tedbench.errors import MetricError, TedbenchError
from tedbench.types import Run, Strength

_HUB = "hf-hub:"
_BETWEEN = re.compile(r"[\s\"'\[\]{}(),;=]+")
"""What stands between the values of one that holds many."""


def metric(spec: str, trusted: bool = False) -> str:
    """A metric's spec, if making it runs only what is installed, opens nothing that it names, and asks nobody.

    Args:
        spec: as metrics.json of a submission says it.
        trusted: whether it may name models by NAME/TAG of open_clip or ORG/NAME of a hub. Folders it never may.

    Raises:
        MetricError, UnknownName, UsageError: otherwise.
    """
    name, value, options = registry.parse(spec)
    if ":" in name:
        raise MetricError("it names code of the submitter's choice, which is not run here; install it as a plug-in")
    for text in [value or "", *options.values()]:
        _check(text, trusted)
    if hasattr(registry.load(registry.find("metric", name)), "score_with_answers"):  # types.AskingMetric
        raise MetricError(
            "it asks a model behind an address, which answers otherwise the next time; it is not asked here"
        )
    return spec


def _check(text: str, trusted: bool) -> None:
    bare = text.strip().removeprefix(_HUB)
    parts = [bare, *filter(None, _BETWEEN.split(bare))]
    told = any(mark in text for mark in ("://", "..", "\\")) or "local-dir:" in text.lower()
    if told or any(part.startswith(("/", "~", ".", "…")) for part in parts) or (trusted and ":" in bare):
        raise MetricError(
            "it names a file or address of the submitter's; score the run yourself with what it stands for"
        )
    if any(part and naming.exists(Path(part)) for part in (text, *parts)):
        raise MetricError(f"it names {text!r}, which is a file or folder here; verify from another folder")
    if not trusted and ("/" in text or ":" in text):
        raise MetricError(f"it names a model of the submitter's choice, {text!r}; --trust-models makes it")


def settings(run: Run) -> tuple[str, str]:
    """In what a run's knobs contradict the methods that are installed here, and which are nobody's but its own word.

    Returns:
        One line for the first contradiction, or empty; and one on what was not checked.
    """
    unknown = []
    for label, fields in run.methods.items():
        ours, said = _knob(fields.get("name")), run.knobs.get(label)
        if ours is None or not said:
            unknown.append(label)
            continue
        for key, value in {"name": ours.name, "symbol": ours.symbol, "default": ours.default}.items():
            if said.get(key) != value:
                why = f"run.json says {key} {said.get(key)!r} of the strength of {label}, the method {value!r}"
                return why, ""
    known = "" if len(unknown) == len(run.methods) else "names and defaults of strengths are those installed here"
    if known and unknown:
        known += f", but for {', '.join(unknown[:3])}{' and others' if len(unknown) > 3 else ''}"
    return "", f"{known}; the rest is the submitter's word" if known else "all is the submitter's word"


def _knob(name: object) -> Strength | None:
    """The strength of an installed method's class; None where there is none such, or each object has its own."""
    if not isinstance(name, str) or name not in {plugin.name for plugin in registry.plugins("method")}:
        return None
    try:
        found = getattr(registry.load(registry.find("method", name)), "strength", None)
    except TedbenchError:  # it does not import here
        return None
    return found if isinstance(found, Strength) else None
