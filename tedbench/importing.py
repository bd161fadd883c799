"""A folder of images made elsewhere becomes a run.

Which file answers which question is told by a naming template, TEdBench's own by default, or by a manifest. Whatever
is missing or does not decode becomes a row; whatever is ambiguous or leaves the folder is refused.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from tedbench import environment, images, store
from tedbench.datasets.manifest import read_rows
from tedbench.errors import DataError, ImageError, short
from tedbench.naming import TEDBENCH_TEMPLATE as TEDBENCH_TEMPLATE
from tedbench.naming import check_label, is_file, normal, safe_join
from tedbench.naming import file_name as file_name
from tedbench.types import Cell, Dataset, EditPair, Run


@dataclass(frozen=True)
class Source:
    """Where imported images come from, and how their files are told apart."""

    folder: Path
    method: str
    template: str = TEDBENCH_TEMPLATE
    manifest: Path | None = None
    published_as: str = ""
    """Slug of the published method it stands for (`method_id` in published.csv), or `none`; by its name if empty."""
    strict: bool = False
    """Refuse instead of counting: anything missing, extra or undecodable is an error."""


@dataclass(frozen=True)
class Imported:
    """What an import found."""

    out: Path
    asked: int
    ok: int
    missing: tuple[str, ...]
    """uids of pairs without a file."""
    failed: tuple[str, ...]
    """One line for each file that is no usable image."""
    extra: tuple[str, ...]
    """Files that answer no question."""


def import_folder(source: Source, dataset: Dataset, out: Path, command: Sequence[str] = ()) -> Imported:
    """Copy images that answer a data set's questions into a new run.

    Args:
        source: folder, method name and naming rule.
        dataset: the questions.
        out: the run folder to make; it must not exist.
        command: what the user typed, for run.json.

    Raises:
        DataError: paths that leave the folder, one file for two questions, two files for one, nothing that matches.
        UsageError: a template that cannot be read.
        StoreError: if `out` exists or cannot be written; nothing is left behind then.
    """
    check_label(source.method, "--method")
    if not source.folder.is_dir():
        raise DataError(f"{source.folder} is not a folder; give the folder that holds the edited images")
    expected = expected_files(source, dataset.pairs)
    present = list_images(source.folder)
    extra = tuple(sorted(present - set(expected.values())))
    if not any(is_file(source.folder / name) for name in expected.values()):
        example = next(iter(expected.values()))
        raise DataError(
            f"none of the {len(dataset.pairs)} pairs has a file in {source.folder} ({len(present)} images there); "
            f"expected names like {example!r}; say how yours are named with --template or --manifest"
        )
    with store.new_folder(out) as scratch:
        progress = tqdm(dataset.pairs, desc="import", unit="pair", disable=None)
        cells = [_import_one(pair, expected.get(pair.uid), source, scratch) for pair in progress]
        _refuse_if_strict(source, cells, extra)
        store.write_run(scratch, _run(source, dataset, out, command), dataset.pairs, cells)
    return Imported(
        out=out,
        asked=len(cells),
        ok=sum(cell.status == "ok" for cell in cells),
        missing=tuple(cell.uid for cell in cells if cell.status == "missing"),
        failed=tuple(cell.error for cell in cells if cell.status == "failed"),
        extra=extra,
    )


def expected_files(source: Source, pairs: Sequence[EditPair]) -> dict[str, str]:
    """Uid → file name relative to the folder, by the manifest or the template.

    Raises:
        DataError: if one file would answer two questions, or a path leaves the folder.
    """
    if source.manifest is not None:
        names = _from_manifest(source.manifest, pairs)
    else:
        names = {pair.uid: normal(file_name(source.template, pair, index)) for index, pair in enumerate(pairs)}
    shared = [name for name, count in Counter(names.values()).items() if count > 1]
    if shared:
        twice = [uid for uid, name in names.items() if name == shared[0]]
        raise DataError(
            f"{shared[0]!r} would answer {len(twice)} pairs ({', '.join(twice[:3])}); each needs its own file"
        )
    for name in names.values():
        safe_join(source.folder, name)
    return names


def list_images(folder: Path) -> set[str]:
    """Names, relative to the folder, of all files in it that are called like images."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in images.SUFFIXES and not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}


def _from_manifest(manifest: Path, pairs: Sequence[EditPair]) -> dict[str, str]:
    by_question = {(pair.image.name, pair.target_text): pair.uid for pair in pairs}
    names: dict[str, str] = {}
    for number, row in enumerate(read_rows(manifest, ("img_name", "target_text", "file")), start=1):
        question = (row["img_name"], row["target_text"])
        uid = by_question.get(question)
        if uid is None:
            raise DataError(
                f"{manifest.name} row {number}: the data set has no pair {question[0]!r} with text {question[1]!r}; "
                "names and texts must be as released, typos included"
            )
        if uid in names:
            raise DataError(f"{manifest.name} row {number}: a second file for {question[0]!r}, {question[1]!r}")
        names[uid] = normal(row["file"])
    if not names:
        raise DataError(f"{manifest.name} holds no rows")
    return names


def _import_one(pair: EditPair, name: str | None, source: Source, scratch: Path) -> Cell:
    blank = Cell(pair.uid, pair.image_id, pair.category, source.method, seed=None, strength=None, status="missing")
    path = safe_join(source.folder, name) if name is not None else None
    if name is None or path is None or not is_file(path):
        return replace(blank, error=f"no file {name}" if name else "not in the manifest")
    try:
        data = path.read_bytes()
        decoded = images.decode(data, name)
    except (ImageError, OSError) as error:
        return replace(blank, status="failed", source_file=name, error=short(error, 300))
    png = data if images.is_bare_png(data) else images.encode_png(decoded)
    file = PurePosixPath("images", source.method, f"{pair.uid}.png")
    (scratch / file).parent.mkdir(parents=True, exist_ok=True)
    (scratch / file).write_bytes(png)
    return replace(blank, status="ok", source_file=name, file=str(file), sha256=images.sha256(png))


def _refuse_if_strict(source: Source, cells: Sequence[Cell], extra: Sequence[str]) -> None:
    wrong = [f"{cell.uid}: {cell.error}" for cell in cells if cell.status != "ok"]
    wrong += [f"{name}: answers no pair" for name in extra]
    if source.strict and wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise DataError(f"--strict: {'; '.join(wrong[:3])}{more}; nothing was imported")


def _run(source: Source, dataset: Dataset, out: Path, command: Sequence[str]) -> Run:
    rule = {"manifest": source.manifest.name} if source.manifest else {"template": source.template}
    origin: Mapping[str, str] = {"origin": "imported", "folder": source.folder.resolve().name, **rule}
    if source.published_as:
        origin = {**origin, "published_as": source.published_as}
    return Run(
        name=out.name,
        created=environment.now(),
        kind="import",
        dataset=replace(dataset.info, location=_relative(dataset.info.location, out)),
        methods={source.method: origin},
        command=tuple(command),
        versions=environment.versions(),
        hardware=environment.hardware(),
        git_commit=environment.git_commit(),
    )


def _relative(location: str, out: Path) -> str:
    # Relative to the run folder, so that a checkout can be moved, and a run shared, with its data beside it.
    return os.path.relpath(location, out.resolve()) if location else ""
