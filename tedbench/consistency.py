"""Whether the files of a submission agree with each other: rows, images, questions, scores. Nothing is scored here."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench import archive, ranges, store
from tedbench.disk import as_json, read_json, read_lines
from tedbench.errors import StoreError, short
from tedbench.running import sweeps
from tedbench.store import RunFolder
from tedbench.types import Cell, MetricFacts, Run

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, str, int | None, float | None]
"""uid, method, seed, strength."""
STATES = ("ok", "failed", "missing")
KINDS = ("run", "import")
_KEY = r"(\.[0-9a-f]{8})?"
"""Of a sweep, in the names of its files; runs of the first format have none."""
ENDLESS = 1e308
"""What JSON holds for the end of a range that has none."""
_BYTES_A_ROW = 4096
"""Of a table of scores, unpacked; a real row has about 200."""


@dataclass(frozen=True)
class _Question:
    """A row of pairs.jsonl, as far as other files go by it."""

    uid: str
    image_id: str
    category: str | None
    target_text: str
    source_text: str | None


def opened(folder: Path) -> RunFolder:
    """A run that anyone may have written, its types checked.

    Raises:
        StoreError: naming the file that is not one of ours.
    """
    from pydantic import TypeAdapter, ValidationError

    kinds: dict[str, Any] = {
        "run.json": Run,
        "metrics.json": dict[str, MetricFacts],
        "cells.jsonl": list[Cell],
        "pairs.jsonl": list[_Question],
    }
    for name, kind in kinds.items():
        try:
            value = (read_lines if name.endswith("l") else read_json)(folder / name)
            TypeAdapter(kind).validate_python(value)
            as_json(value)  # no infinite number, no half a surrogate pair
        except ValidationError as error:
            first = error.errors()[0]
            raise StoreError(
                f"{name} of the submission is not one of ours: {first['loc']!r}: {first['msg']}"
            ) from error
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{name} of the submission is not one of ours ({short(error)})") from error
    run = store.open_run(folder)
    _check_table(run)
    return run


def values_of(scores: pd.DataFrame, identity: str) -> dict[Key, float]:
    """Cell → value of one metric, nan where there is none."""
    table = scores.loc[scores["metric"] == identity, ["uid", "method", "seed", "strength", "value"]].astype(object)
    rows = table.where(table.notna(), None).itertuples(index=False, name=None)
    return {
        (uid, method, seed, strength): math.nan if value is None else float(value)
        for uid, method, seed, strength, value in rows
    }


def faults(run: RunFolder, said: Mapping[str, Any]) -> list[str]:
    """One line for everything in which a submission contradicts itself.

    Args:
        run: as `opened` gives it.
        said: its submission.json.
    """
    cells = run.cell_list()
    own = (*_shapes(run.run, cells), *_rows(run, cells), *_counted(cells, said), *_images(cells, said))
    return [*own, *_sweeps(run, cells), *_scores(run)]


def _shapes(about: Run, cells: Sequence[Cell]) -> list[str]:
    """What a report reads without asking: a line for each that is not as a run writes it."""
    odd = [] if about.kind in KINDS else [f"run.json is of the kind {about.kind!r}"]
    strange = sorted((set(about.execution) | set(about.knobs)) - set(about.methods))
    odd += [f"run.json tells of {label!r}, which is none of its methods" for label in strange[:1]]
    odd += [f"run.json has no execution of {label!r}" for label, how in about.execution.items() if not _how(how)]
    odd += [f"run.json has no strength of {label!r}" for label, knob in about.knobs.items() if not _knob(knob)]
    for cell in cells:
        amounts = (cell.fit_seconds, cell.edit_seconds, cell.host_bytes, cell.device_bytes)
        if not all(one is None or (_number(one) and one >= 0) for one in amounts):
            return [*odd, f"a time or memory of {cell.uid} in cells.jsonl is no amount"]
        if about.kind == "run" and not _at_home(cell):
            return [*odd, f"cells.jsonl names {(cell.file or cell.facts)[:80]!r}, which is not where its row belongs"]
    return odd


def _how(how: Any) -> bool:
    """Whether each fact is a list of the values that sweeps noted; a report joins the names of models."""
    lists = isinstance(how, Mapping) and all(isinstance(values, list) for values in how.values())
    return lists and all(isinstance(one, str) for one in how.get("model", ()))


def _knob(knob: Mapping[str, Any]) -> bool:
    texts = all(isinstance(knob.get(key), str) for key in ("name", "symbol"))
    return not knob or (texts and _number(knob.get("default")))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -ENDLESS <= value <= ENDLESS


def _at_home(cell: Cell) -> bool:
    """Whether image and record of a row are where a run writes them, see `tedbench.running.sweeps`."""
    if not (_number(cell.seed) and _number(cell.strength)):
        return False
    # Between the row's own name and the ending stands the key; the folder is the label under which it was made.
    image = rf"{re.escape(f'{cell.uid}/s{cell.seed}-{ranges.shown(cell.strength or 0.0)}')}{_KEY}\.png"
    record = rf"{re.escape(f'{cell.uid}/s{cell.seed}')}{_KEY}\.json"
    return bool(
        (not cell.file or re.fullmatch(rf"images/[^/]+/{image}", cell.file))
        and (not cell.facts or re.fullmatch(rf"sweeps/[^/]+/{record}", cell.facts))
    )


def _rows(run: RunFolder, cells: Sequence[Cell]) -> Iterable[str]:
    asked = _asked(run)
    there = Counter((cell.uid, cell.method, cell.seed, cell.strength) for cell in cells)
    yield from _first(asked - set(there), "rows of cells.jsonl lack", "which the run asks for")
    yield from _first(set(there) - asked, "rows of cells.jsonl hold", "which the run does not ask for")
    yield from _first({key for key, n in there.items() if n > 1}, "cells.jsonl holds", "twice")
    pairs = {row["uid"]: row for row in read_lines(run.path / "pairs.jsonl")}
    for cell in cells:
        pair = pairs.get(cell.uid, {})
        if (pair.get("image_id"), pair.get("category")) != (cell.image_id, cell.category):
            yield f"cells.jsonl and pairs.jsonl give {cell.uid} another photo or category"
            return


def _asked(run: RunFolder) -> set[Key]:
    """Every cell that a run of this configuration has, whatever became of it."""
    uids, about = [row["uid"] for row in read_lines(run.path / "pairs.jsonl")], run.run
    if about.kind == "import":
        return {(uid, label, None, None) for uid in uids for label in about.methods}
    try:
        settings = [
            (label, int(seed), float(strength))
            for label, fields in about.methods.items()
            for seed in about.config.get("seeds", ())
            for strength in fields.get("strengths", ())
        ]
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"run.json of the submission: a seed or strength is no number ({short(error)})") from error
    return {(uid, *setting) for uid in uids for setting in settings}


def _counted(cells: Sequence[Cell], said: Mapping[str, Any]) -> Iterable[str]:
    count = Counter(cell.status for cell in cells)
    if said.get("cells") != {what: count[what] for what in STATES} or set(count) - set(STATES):
        yield f"{archive.MANIFEST} counts other cells than cells.jsonl holds"


def _images(cells: Sequence[Cell], said: Mapping[str, Any]) -> Iterable[str]:
    packed = {name: facts["sha256"] for name, facts in said["files"].items() if name.startswith("images/")}
    made = {cell.file: cell.sha256 for cell in cells if cell.status == "ok"}
    odd = [name for name in made if not (archive.is_name(name) and name.startswith("images/"))]
    if odd or len(made) < sum(cell.status == "ok" for cell in cells):
        yield f"cells.jsonl names {odd[0][:80]!r} as an image" if odd else "two rows of cells.jsonl name one image"
    if any((cell.file or cell.sha256) and cell.status != "ok" for cell in cells):
        yield "a row of cells.jsonl has an image, and says that it has none"
    if packed:
        altered = [name for name in made if name in packed and made[name] != packed[name]]
        yield from _first(set(made) - set(packed), "the archive lacks", "which cells.jsonl names")
        yield from _first(set(packed) - set(made), "the archive holds", "which no row names")
        yield from _first(set(altered), "the image", "is not the one that its row names (sha256 differs)")


def _sweeps(run: RunFolder, cells: Sequence[Cell]) -> Iterable[str]:
    """A sweep's record keeps its rows too, one a cell."""
    by_record: dict[str, list[Cell]] = {}
    for cell in cells:
        by_record.setdefault(cell.facts, []).append(cell)
    for name, rows in by_record.items():
        if name and not (archive.is_name(name) and name.startswith("sweeps/")):
            yield f"cells.jsonl names {name[:80]!r} as a record"
        elif name and (run.path / name).is_file() and not _recorded(run.path / name, rows):
            yield f"{name} and cells.jsonl say different things of its cells"


def _recorded(path: Path, rows: Sequence[Cell]) -> bool:
    """Whether a record holds these rows, perhaps among others; what it holds is what a sweep keeps of a cell."""
    try:
        kept = [dict(row) for row in read_json(path)["cells"]]
    except (KeyError, TypeError, ValueError, RecursionError, StoreError):
        return False
    return all(sweeps.kept_of(cell) in kept for cell in rows if cell.status != "missing")


def _scores(run: RunFolder) -> Iterable[str]:
    scores, metrics = run.scores(), run.metrics
    if not metrics:
        yield "metrics.json names no metric, so nothing is scored"
    yield from _first(set(scores["metric"]) - set(metrics), "scores.parquet has", "of which metrics.json says nothing")
    yield from _first(
        {name for name, one in metrics.items() if one.identity != name}, "metrics.json calls", "otherwise"
    )
    cells = {(cell.uid, cell.method, cell.seed, cell.strength): cell for cell in run.cell_list()}
    digest = store.cells_digest(run.cell_list())
    for identity, facts in metrics.items():
        values = values_of(scores, identity)
        n = int((scores["metric"] == identity).sum())
        if set(values) != set(cells) or n != len(cells):
            yield f"{facts.spec}: {n} scores for {len(cells)} rows of cells.jsonl, or of other cells"
            continue
        if facts.cells not in ("", digest):
            yield f"{facts.spec} was scored on other cells than cells.jsonl holds"
        if any(cells[key].status != "ok" and not math.isnan(value) for key, value in values.items()):
            yield f"{facts.spec} has a score for an image that was not made"
        lost = {key[0] for key, value in values.items() if math.isnan(value) and cells[key].status == "ok"}
        if lost != set(facts.unscored):
            yield f"{facts.spec} lacks scores of other pairs than those that metrics.json gives a reason for"
        low = facts.low if facts.low > -ENDLESS else -math.inf
        high = facts.high if facts.high < ENDLESS else math.inf
        if any(value < low - 1e-6 or value > high + 1e-6 for value in values.values()):
            yield f"{facts.spec} has a score outside its range [{facts.low}, {facts.high}]"
    about = {(row["uid"], row["image_id"], row["category"]) for row in read_lines(run.path / "pairs.jsonl")}
    told = scores[["uid", "image_id", "category"]].drop_duplicates().astype(object)
    if not {tuple(row) for row in told.where(told.notna(), None).itertuples(index=False)} <= about:
        yield "scores.parquet and pairs.jsonl give a pair another photo or category"


def _check_table(run: RunFolder) -> None:
    """A table of scores can be small and unpack to anything: what it says of itself comes first."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException, types

    path, most = run.path / "scores.parquet", len(run.cell_list()) * len(run.metrics)
    try:
        about = pq.read_metadata(path)
        size = sum(about.row_group(at).total_byte_size for at in range(about.num_row_groups))
        columns = {field.name: field.type for field in about.schema.to_arrow_schema()}
    except (ArrowException, OSError, ValueError) as error:
        raise StoreError(f"scores.parquet of the submission cannot be read ({short(error)})") from error
    if about.num_rows > most or size > (most + 100) * _BYTES_A_ROW:
        raise StoreError(f"scores.parquet of the submission has {about.num_rows} rows; {most} cells can have scores")
    kinds = {"seed": types.is_integer, "strength": types.is_floating, "value": types.is_floating}
    odd = [name for name, kind in columns.items() if not kinds.get(name, _is_text)(kind)]
    if odd or set(columns) != set(store.SCORE_COLUMNS):
        raise StoreError(f"scores.parquet of the submission has other columns than ours: {', '.join(odd or columns)}")


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _first(odd: Iterable[Any], before: str, after: str) -> Iterable[str]:
    """One line on several: the first of them, and how many there are."""
    named = sorted(" ".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in odd)
    if named:
        more = f" (and {len(named) - 1} more)" if len(named) > 1 else ""
        yield f"{before} {named[0]!r}{more}, {after}"
