"""What a reader should know before believing a report: one line each, each with what it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tedbench import stats
from tedbench.report import sweeps, text
from tedbench.report.compared import PRIMARY, Compared
from tedbench.report.provenance import caption_lines
from tedbench.report.shown import Key, Shown
from tedbench.report.table import Material

if TYPE_CHECKING:
    import pandas as pd

SEEDS = 3
"""Seeds below which what a seed adds is hardly known."""
PAIRS = 30
"""Pairs below which an interval rests on what few pictures happen to be like."""
SAID = {
    "failed": "failed; they are 0 where success is 0 or 1, and missing from other means",
    "missing": "are missing: the run is not finished",
}
MOVING = ("torch", "diffusers", "transformers", "open-clip-torch", "lpips", "pillow")
"""Libraries whose version can move a picture or a score."""


@dataclass(frozen=True)
class Caution:
    """One thing to know."""

    about: str
    """A word or two."""
    said: str


def gather(
    material: Material, shown: Mapping[Key, Shown], table: pd.DataFrame, ruled: pd.DataFrame, compared: Compared
) -> list[Caution]:
    """All cautions of a report, weightiest first."""
    labels = sweeps.labels(material)
    found = [
        *_identities(material), *_selection(ruled), *_incomplete(material, table, labels), *_seeds(material, labels),
        *_few(table), *_captions(material), *_unmatched(material, compared, labels), *_middle(shown, labels),
        *_drawn(material), *_software(material), *_notes(material),
    ]  # fmt: skip
    return [Caution(one.about, text.clean(one.said)) for one in dict.fromkeys(found)]


def _identities(material: Material) -> Iterator[Caution]:
    by_spec: dict[str, list[str]] = {}
    for identity, facts in material.metrics.items():
        by_spec.setdefault(facts.spec, []).append(identity)
    for spec, identities in by_spec.items():
        if len(identities) > 1:
            said = f"{spec} was scored in {len(identities)} ways ({'; '.join(identities)}): they are kept apart, and"
            yield Caution("mixed metrics", f"{said} a method of one is not to be held against a method of another.")


def _selection(ruled: pd.DataFrame) -> Iterator[Caution]:
    """Of rules that do not say themselves that they are bounds."""
    shared = ruled[(ruled["shares_model"] != "") & ~ruled["upper_bound"].astype(bool)] if len(ruled) else ruled
    for (rule, model), rows in shared.groupby(["rule", "shares_model"], sort=False):
        specs = ", ".join(dict.fromkeys(rows["spec"]))
        said = f"rule {rule} chooses by {model}, which {specs} also reports by"
        yield Caution("selection and report", f"{said}: what it gains there says little. Read another metric.")


def _incomplete(material: Material, table: pd.DataFrame, labels: Mapping[Key, str]) -> Iterator[Caution]:
    if material.dataset.part:
        yield Caution("part of the data", f"{material.dataset.part} of {material.dataset.name} were asked.")
    settings = ["run", "method", "strength"]
    short = table[table["n"] < table["asked"]]
    for _, rows in short.groupby([*settings[:2], "n"], sort=False):
        label, n, specs = text.setting_label(rows.iloc[0], table), rows["n"].iloc[0], ", ".join(rows["spec"])
        yield Caution("missing scores", f"{label}: {n} of {rows['asked'].iloc[0]} pairs have a value ({specs}).")
    for what, status in (("failed edits", "failed"), ("missing images", "missing")):
        for (run, method), cells in material.cells.groupby(["run", "method"], sort=False):
            n = int((cells["status"] == status).sum())
            if n:
                said = f"{labels[str(run), str(method)]}: {n} of {len(cells)} images over all strengths {SAID[status]}."
                yield Caution(what, said)


def _seeds(material: Material, labels: Mapping[Key, str]) -> Iterator[Caution]:
    counts: dict[int, list[str]] = {}
    for (run, method), cells in material.cells.groupby(["run", "method"], sort=False):
        if not _draws_no_noise(cells):
            counts.setdefault(int(cells["seed"].nunique()), []).append(labels[str(run), str(method)])
    for n, named in sorted(counts.items()):
        if n < SEEDS:
            what = {0: "the seed is not stated", 1: "one seed"}.get(n, f"{n} seeds")
            yield Caution("few seeds", f"{', '.join(named)}: {what}; how much a seed moves the numbers is not known.")
    by_run = {str(run): set(cells["seed"].dropna()) for run, cells in material.cells.groupby("run")}
    if any(one and other and not one & other for one in by_run.values() for other in by_run.values()):
        yield Caution("unequal seeds", "Runs share no seed, so their methods did not start from the same noise.")
    if len(counts) > 1:
        said = "; ".join(f"{', '.join(named)}: {n}" for n, named in sorted(counts.items()))
        yield Caution("unequal seeds", f"Methods were run with different numbers of seeds ({said}).")


def _draws_no_noise(cells: pd.DataFrame) -> bool:
    """Whether all seeds gave the same images, bit by bit."""
    made = cells[cells["sha256"] != ""]
    if made["seed"].nunique() < 2:
        return False
    return bool((made.groupby(["uid", "strength"], dropna=False)["sha256"].nunique() == 1).all())


def _few(table: pd.DataFrame) -> Iterator[Caution]:
    for _, rows in table.groupby(["run", "method"], sort=False):
        n, photos = int(rows["n"].min()), int(rows["images"].min())
        if n < PAIRS or photos < stats.FEW:
            label = text.setting_label(rows.iloc[0], table)
            yield Caution("small sample", f"{label}: {n} pairs on {photos} photos; read the interval, not the mean.")


def _captions(material: Material) -> Iterator[Caution]:
    for line in caption_lines(material):
        yield Caution("source captions", f"{line}. Numbers that read them depend on their wording.")


def _unmatched(material: Material, compared: Compared, labels: Mapping[Key, str]) -> Iterator[Caution]:
    rows, numbers = compared.differences, compared.numbers
    primary = rows[rows["role"] == PRIMARY]
    if len(primary) and (primary["at"] == "shown").all() and compared.distance:
        said = "The primary comparison is at the strengths shown, where methods differ in LPIPS as well"
        yield Caution("no equal fidelity", f"{said}: nothing could be matched.")
    lost = primary[(primary["at"] == "budget") & primary["difference"].isna()]
    named = _labels(labels, lost)
    if named:
        said = f"{named} measured nothing on both sides of LPIPS {text.number(compared.budget)}"
        yield Caution("no equal fidelity", f"{said}: no primary comparison, as nothing is extrapolated.")
    there = {*zip(numbers["run"], numbers["method"], strict=True)}
    without = [label for key, label in labels.items() if len(numbers) and key not in there]
    if without:
        said = f"{', '.join(without)}: no value of {material.metrics[compared.distance].spec}, so nothing to match by"
        yield Caution("no equal fidelity", f"{said}, and no part in the front.")
    holes = rows[(rows["at"] == "budget") & (rows["unpaired"] > 0) & (rows["n"] > 0)]
    for row in holes.drop_duplicates(["run", "method", "unpaired"]).to_dict("records"):
        said = (
            f"{labels[row['run'], row['method']]}: pairs without a value of it or of the reference are left out of its"
        )
        yield Caution("unpaired", f"{said} difference, {row['unpaired']} of them ({row['spec']}).")


def _labels(labels: Mapping[Key, str], rows: pd.DataFrame) -> str:
    return ", ".join(labels[str(run), str(method)] for run, method in zip(rows["run"], rows["method"], strict=True))


def _middle(shown: Mapping[Key, Shown], labels: Mapping[Key, str]) -> Iterator[Caution]:
    for key, one in shown.items():
        if one.choice == "middle":
            said = f"{labels[key]}: its default is not among the strengths that were run"
            yield Caution("shown strength", f"{said}; tables show the middle one, {one.strength:g}.")


def _drawn(material: Material) -> Iterator[Caution]:
    if material.dataset.source == "drawn":
        said = "The pictures are drawn by a program and the models are small"
        yield Caution("toy world", f"{said}: this tests the machinery and says nothing of photographs.")


def _software(material: Material) -> Iterator[Caution]:
    for name in MOVING:
        found = {run.versions[name] for run in material.runs.values() if run.kind == "run" and name in run.versions}
        if len(found) > 1:
            yield Caution("software", f"Runs were made with different versions of {name}: {', '.join(sorted(found))}.")
    for name, run in material.runs.items():
        if run.git_commit.endswith("-dirty"):
            yield Caution("software", f"{name} was made by code changed since its commit {run.git_commit[:12]}.")


def _notes(material: Material) -> Iterator[Caution]:
    for facts in material.metrics.values():
        for note in facts.notes:
            yield Caution("note of a metric", f"{facts.spec}: {note}")
