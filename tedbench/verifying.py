"""A submission is believed where this machine comes to the same: hashes, rows, questions, and every score anew.

Scores agree where they differ by at most `TOLERANCE`, relative to values above 1 and absolute below, since other
hardware rounds otherwise; values that are 0 or 1 must be equal. What cannot be computed here is said to be unverified,
never passed over. An archive is a stranger's: no code, address, file or model that a metric's spec names in it is
imported, asked or opened; a metric is rescored only if it is installed here under its name.

What is verified: these images of these questions have these scores, and every row it lists is there; which edits
failed, which strengths and seeds were run, and how images were made is the submitter's word.
"""

from __future__ import annotations

import math
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedbench import archive, consistency, datasets, disk, naming, scoring, store, strangers
from tedbench.consistency import Key
from tedbench.datasets import tedbench as released
from tedbench.errors import DataError, Differs, ImageError, TedbenchError, Unverified, UsageError, short
from tedbench.store import RunFolder
from tedbench.types import Dataset, DatasetInfo, MetricFacts, Run

TOLERANCE = 1e-4
CONFIRMED, DIFFERS, UNVERIFIED, CLAIMED = "confirmed", "differs", "NOT VERIFIED", "claimed, not checked"
_PART = re.compile(r"first ([0-9]{1,9}) of [0-9]+ pairs")


@dataclass(frozen=True)
class Given:
    """What a user gives to verify with."""

    data: Path | None = None
    """Folder of the data set."""
    captions: Path | None = None
    run: Path | None = None
    """A folder with the images, where the archive has none."""
    device: str = "auto"
    out: Path | None = None
    """Where the run is unpacked, unless something differs."""
    trust_models: bool = False
    """Whether its metrics may name models of open_clip and of hubs."""


NOTHING = Given()


@dataclass(frozen=True)
class Check:
    """One thing that a submission claims."""

    what: str
    """A metric's spec, or files, rows, settings, questions, captions."""
    verdict: str
    why: str = ""
    rows: int = 0
    largest: float = math.nan
    """Difference of a score from the submitted one, over all rows."""


@dataclass(frozen=True)
class Verification:
    """What became of every claim."""

    checks: tuple[Check, ...]
    about: str = ""
    """Which run it is, by what it says of itself."""

    def confirm(self) -> None:
        """Return if every claim was confirmed.

        Raises:
            Differs: if something contradicts the submission.
            Unverified: if something could not be checked here.
        """
        for verdict, error in ((DIFFERS, Differs), (UNVERIFIED, Unverified)):
            found: dict[str, list[str]] = {}
            for one in self.checks:
                if one.verdict == verdict:
                    found.setdefault(one.why, []).append(one.what)
            if found:
                lines = [f"{', '.join(what)}: {why}" for why, what in found.items()]
                more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
                raise error(plain(f"NOT VERIFIED: {'; '.join(lines[:3])}{more}"))


def verify(path: Path, given: Given = NOTHING) -> Verification:
    """Check everything that a submission claims.

    Raises:
        StoreError: if it is no submission, or `given.out` exists or cannot be written.
        Differs: if a file is not what submission.json says.
        UsageError, DataError, NetworkError: as what was given is at fault.
    """
    if given.out is not None and given.out.exists():
        raise UsageError(f"{given.out} exists already; choose another --out, or delete it first")
    with tempfile.TemporaryDirectory(prefix="tedbench-verify-") as place:
        inside, again = Path(place, "submission"), Path(place, "again")
        inside.mkdir()
        said = archive.unpack(path, inside)
        checks = tuple(_checks(inside, again, said, given))
        checked = Verification(checks, _about(store.open_run(inside).run, said))
        if given.out is not None and not any(one.verdict == DIFFERS for one in checked.checks):
            with disk.new_folder(given.out) as scratch:
                shutil.copytree(inside, scratch, dirs_exist_ok=True)
    return checked


def _about(run: Run, said: Mapping[str, Any]) -> str:
    by = f"{run.kind} of {run.created}, submitted with tedbench {said.get('tedbench')}"
    return f"{run.name}: {', '.join(run.methods)} on {run.dataset.name}; {by}"


def plain(text: str) -> str:
    """A stranger's text without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _checks(inside: Path, again: Path, said: Mapping[str, Any], given: Given) -> Iterator[Check]:
    yield Check("files", CONFIRMED, rows=len(said["files"]))
    run = consistency.opened(inside)
    faults = consistency.faults(run, said)
    yield Check("rows", DIFFERS, "; ".join(faults[:3]), len(run.cell_list())) if faults else _rows(run)
    if faults:
        return
    contradicts, claims = strangers.settings(run.run)
    yield Check("settings", DIFFERS if contradicts else CLAIMED, contradicts or claims, len(run.run.methods))
    dataset, checks = _questions(run, said, given, again.with_name("questions"))
    yield from checks
    if any(one.verdict == DIFFERS for one in checks):
        return
    why = _rescorable(run, said, given, dataset)
    if not why:
        _set_up(run, again, given.run)
    for facts in run.metrics.values():
        yield (
            Check(facts.spec, UNVERIFIED, why) if why or dataset is None else _metric(run, facts, dataset, again, given)
        )


def _rows(run: RunFolder) -> Check:
    """All rows are there, whatever the submitter says became of them."""
    states = [cell.status for cell in run.cell_list()]
    count = ", ".join(f"{states.count(what)} {what}" for what in consistency.STATES)
    if run.run.kind == "run" and "missing" in states:
        return Check("rows", UNVERIFIED, f"incomplete run ({count}); finish and score it, then submit", len(states))
    return Check("rows", CONFIRMED, count, len(states))


def _questions(
    run: RunFolder, said: Mapping[str, Any], given: Given, scratch: Path
) -> tuple[Dataset | None, list[Check]]:
    """The data set with its photos, if it is here, and whether the run's questions are its own."""
    asked = run.run.dataset
    try:
        dataset, why = _load(asked, given), ""
    except TedbenchError as error:
        if given.data is not None:
            raise
        dataset, why = None, f"the data set is not here ({short(error)}); give it with --data"
    listed = dataset if dataset is not None else _listed(asked)
    if listed is None:
        return None, [Check("questions", UNVERIFIED, why)]
    scratch.mkdir()
    fault = _another(run, listed, scratch) or _other_origin(asked, said, listed.info)
    checks = [Check("questions", DIFFERS if fault else CONFIRMED, fault, len(listed.pairs))]
    if asked.captions and listed.info.captions != asked.captions:
        checks.append(
            Check("captions", UNVERIFIED, f"source captions {asked.captions!r} are not here; --captions FILE")
        )
    return dataset, checks


def _load(asked: DatasetInfo, given: Given) -> Dataset:
    captions: str | Path | None = given.captions
    shipped = asked.captions.partition(" ")[0]
    if captions is None and re.fullmatch(r"[\w-]+", shipped) and not naming.exists(Path(shipped)):
        captions = shipped
    try:
        dataset = datasets.load(asked.name, given.data, captions=captions)
    except DataError:
        if captions is None or given.captions is not None:
            raise
        dataset = datasets.load(asked.name, given.data)  # the check on captions says that they are not here
    return _part(dataset, asked)


def _listed(asked: DatasetInfo) -> Dataset | None:
    """TEdBench's list ships, its photos do not."""
    if asked.name != "tedbench":
        return None
    return _part(released.build(Path(), DatasetInfo(asked.name, "folder", released.release().commit, "")), asked)


def _part(dataset: Dataset, asked: DatasetInfo) -> Dataset:
    part = _PART.fullmatch(asked.part)
    return datasets.take(dataset, int(part[1])) if part and int(part[1]) else dataset


def _another(run: RunFolder, dataset: Dataset, scratch: Path) -> str:
    """In what a run's questions are not the data set's; empty if in nothing."""
    asked = run.run.dataset
    store.write_run(scratch, run.run, dataset.pairs, ())
    ours, theirs = disk.read_lines(scratch / "pairs.jsonl"), disk.read_lines(run.path / "pairs.jsonl")
    captioned = {"source_text"} if asked.captions and dataset.info.captions != asked.captions else set()
    for one, other in zip(ours, theirs, strict=False):
        odd = [key for key in one if one[key] != other.get(key) and key not in captioned]
        if odd or set(other) - set(one):
            return f"{other.get('uid')!r} has another {odd[0] if odd else 'form'} than in {asked.name}"
    if len(ours) != len(theirs) or (dataset.info.sha256, dataset.info.part) != (asked.sha256, asked.part):
        return f"the list of pairs is not that of {asked.name}: {len(theirs)} pairs, {len(ours)} there; or other photos"
    return ""


def _other_origin(asked: DatasetInfo, said: Mapping[str, Any], ours: DatasetInfo) -> str:
    """In what the data set is said to be another, though its pairs are the same; by its licence images are shared."""
    licence = datasets.licence_of(ours)
    for stated in (datasets.licence_of(asked), said.get("licence", licence)):
        if stated != licence:
            return f"the licence is said to be {stated!r}, {asked.name} states {licence!r}"
    if "drawn" in (asked.source, ours.source) and (asked.source, asked.revision) != (ours.source, ours.revision):
        return f"{asked.name} is {ours.source}, {ours.revision}; not {asked.source}, {asked.revision}"
    return ""


def _rescorable(run: RunFolder, said: Mapping[str, Any], given: Given, dataset: Dataset | None) -> str:
    """Why no score can be computed; empty if some can."""
    packed = any(name.startswith("images/") for name in said["files"])
    if packed and given.run is not None:
        raise UsageError("the submission has its images; leave out --run")
    if not packed and given.run is None and any(cell.status == "ok" for cell in run.cell_list()):
        return "no images in the submission; --run FOLDER takes those of a run that has them"
    return "" if dataset is not None else "the photos are not here; --data FOLDER"


def _set_up(run: RunFolder, again: Path, images: Path | None) -> None:
    """A run with the same rows and images, and no scores."""
    again.mkdir()
    for name in ("run.json", "pairs.jsonl", "cells.jsonl"):
        shutil.copyfile(run.path / name, again / name)
    place = (images or run.path).resolve()
    (again / "images").symlink_to(place / "images")
    for cell in run.cell_list() if images is not None else ():
        try:
            _ = RunFolder(again).image_bytes(cell) if cell.status == "ok" else b""
        except ImageError as error:
            raise UsageError(f"--run {images} does not have the images that were submitted: {error}") from error


def _metric(run: RunFolder, facts: MetricFacts, dataset: Dataset, again: Path, given: Given) -> Check:
    try:
        made = scoring.make_metrics([strangers.metric(facts.spec, given.trust_models)], given.device)
        ours = made[0][1].identity
        if facts.identity.partition("/captions=")[0] != ours:
            return Check(facts.spec, DIFFERS, f"it makes {ours!r} here, the submission says {facts.identity!r}")
        scored = scoring.score_run(store.open_run(again), dataset, made, again=True)
    except TedbenchError as error:
        return Check(facts.spec, UNVERIFIED, short(error))
    if scored.failed:
        return Check(facts.spec, DIFFERS, f"an image cannot be scored: {scored.failed[0]}")
    return _compared(facts, scored.facts[0], run, store.open_run(again))


def _compared(facts: MetricFacts, fresh: MetricFacts, run: RunFolder, again: RunFolder) -> Check:
    if fresh.identity != facts.identity:  # of captions that are not those of the run
        why = f"its numbers are {fresh.identity!r} with what is here; give the run's own --captions"
        return Check(facts.spec, UNVERIFIED, why)
    said, found = _claims(facts), _claims(fresh)
    odd = [what for what in {**found, **said} if said.get(what) != found.get(what)]
    if odd:
        why = f"metrics.json says {odd[0]} {said.get(odd[0])!r}, the metric {found.get(odd[0])!r}"
        return Check(facts.spec, DIFFERS, why)
    theirs = consistency.values_of(run.scores(), facts.identity)
    ours = consistency.values_of(again.scores(), facts.identity)
    largest = max((_apart(ours[key], theirs[key]) for key in ours if _both(ours[key], theirs[key])), default=0.0)
    off = [key for key in ours if not _agree(ours[key], theirs[key], fresh.binary)]
    why = f"{len(off)} of {len(ours)} scores are others here, {_shown(off[0], theirs, ours)}" if off else ""
    return Check(facts.spec, DIFFERS if off else CONFIRMED, why, len(ours), largest)


def _claims(facts: MetricFacts) -> dict[str, Any]:
    """What a report does with a metric's numbers; where they were computed is no claim."""
    plain = {"higher_is_better": facts.higher_is_better, "low": facts.low, "high": facts.high}
    beside = {"captions": facts.captions, "unscored": sorted(facts.unscored)}
    return {**plain, **beside, **{key: value for key, value in facts.facts.items() if key not in ("device", "address")}}


def _both(ours: float, theirs: float) -> bool:
    return not (math.isnan(ours) or math.isnan(theirs))


def _apart(ours: float, theirs: float) -> float:
    return 0.0 if ours == theirs else abs(ours - theirs)  # of equal pictures, PSNR is infinite


def _agree(ours: float, theirs: float, exact: bool) -> bool:
    if not _both(ours, theirs):
        return math.isnan(ours) and math.isnan(theirs)
    if exact or math.isinf(ours) or math.isinf(theirs):
        return ours == theirs
    return abs(ours - theirs) <= TOLERANCE * max(1.0, abs(ours), abs(theirs))


def _shown(key: Key, theirs: Mapping[Key, float], ours: Mapping[Key, float]) -> str:
    where = " ".join(str(part) for part in key if part is not None)
    return f"such as {theirs[key]:.6g} for {where}, {ours[key]:.6g} here"
