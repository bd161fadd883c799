"""Who takes part in a study, and which image of each is shown for each question: one seed, one strength, by rule."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tedbench import choosing, registry, store
from tedbench.errors import UnknownName, UsageError
from tedbench.report import shown, sweeps
from tedbench.report.table import Material
from tedbench.report.text import clean
from tedbench.store import RunFolder
from tedbench.study.lock import Choices, Contender
from tedbench.types import Cell

NO_CELL = "not run"


@dataclass(frozen=True)
class Entrant:
    """A method that takes part."""

    contender: Contender
    run: RunFolder
    cells: Mapping[str, Cell]
    """uid → the cell that is shown; it may have failed."""
    why: Mapping[str, str]
    """uid → why there is none."""

    def lost(self, uid: str) -> str:
        """Why there is no picture for a question; empty where there is one."""
        cell = self.cells.get(uid)
        if cell is None:
            return self.why.get(uid, NO_CELL)
        return "" if cell.status == "ok" else cell.error or cell.status


def enter(material: Material, choices: Choices, out: Path) -> list[Entrant]:
    """Everyone who takes part.

    Args:
        material: of the runs.
        choices: methods and rule.
        out: the study's folder, from which paths are told.

    Raises:
        UsageError: if a method is not there, or fewer than two are; as a rule is at fault.
    """
    labels = _labels(material)
    unknown = [label for label in choices.methods if label not in labels]
    if unknown:
        raise UnknownName("method", unknown[0], labels)
    wanted = list(dict.fromkeys(choices.methods)) or list(labels)
    if len(wanted) < 2:
        raise UsageError(f"a study compares two methods or more; the runs have {', '.join(labels)}")
    at = shown.choose(material)
    return [_entrant(material, label, labels[label], at[labels[label]], choices.rule, out) for label in wanted]


def _labels(material: Material) -> dict[str, shown.Key]:
    """What everyone is called: the method's name where no other run has it too."""
    long = {label: key for key, label in sweeps.labels(material).items()}
    short = {clean(key[1]): key for key in long.values()}
    return short if len(short) == len(long) else long


def _entrant(material: Material, label: str, key: shown.Key, at: shown.Shown, rule: str, out: Path) -> Entrant:
    run, method = material.opened[key[0]], key[1]
    every = [cell for cell in run.cell_list() if cell.method == method]
    seeds = list(dict.fromkeys(cell.seed for cell in every))
    wanted: Mapping[str, tuple[int | None, float]] = {}
    said, why = at.said, {}
    seed: int | None = seeds[0]
    if rule and at.of > 1:
        found = _ruled(run, method, at, rule)
        if not found.seed_by:
            found = replace(found, table=found.table[[one == _code(seed) for one in _seeds(found)]])
        wanted = {uid: (one, strength) for uid, one, strength in _rows(found) if not math.isnan(strength)}
        why = {uid: f"{rule} chose no strength" for uid, _, strength in _rows(found) if math.isnan(strength)}
        said = f"{at.symbol} by {rule}".strip() + (" (upper bound: it knew the outcome)" if found.upper_bound else "")
        seed = None if found.seed_by else seed
    else:
        wanted = {cell.uid: (seed, at.strength) for cell in every}
    index = {(cell.uid, _code(cell.seed), _number(cell.strength)): cell for cell in every}
    keys = {uid: (uid, _code(one), _number(strength)) for uid, (one, strength) in wanted.items()}
    cells = {uid: index[key] for uid, key in keys.items() if key in index}
    told = Contender(
        label=label,
        run=os.path.relpath(run.path.resolve(), out.resolve()),
        run_name=run.run.name,
        method=method,
        seed=seed,
        strength=said,
        cells=store.cells_digest(run.cell_list()),
    )
    return Entrant(told, run, cells, why)


def _ruled(run: RunFolder, method: str, at: shown.Shown, rule: str) -> choosing.Choices:
    scores = run.scores()  # as they are: an image that failed has none, and no rule may choose it
    mine = scores[scores["method"] == method]
    return choosing.choose(registry.make("rule", rule), mine, run.metrics, {method: at.strength})


def _rows(found: choosing.Choices) -> Iterator[tuple[str, int | None, float]]:
    for row in found.table.itertuples():
        seed = None if str(row.seed) == "<NA>" else int(str(row.seed))
        yield str(row.uid), seed, float(str(row.strength)) if row.chosen else math.nan


def _seeds(found: choosing.Choices) -> list[int]:
    return [_code(seed) for _, seed, _ in _rows(found)]


def _code(seed: int | None) -> int:
    return -1 if seed is None else seed


def _number(strength: float | None) -> float | None:
    return None if strength is None or math.isnan(strength) else strength
