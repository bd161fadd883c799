"""What papers print, and how far ours is from it.

A match is |ours − published| ≤ half a unit of the last printed digit. One match among the settings that were tried
is weak evidence, and is called "numerically consistent (k settings searched)". "reproduced" needs two metrics of one
published row to match under one setting that the paper does not contradict, on all its pairs, with the paper read.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench.errors import DataError, short
from tedbench.types import DatasetInfo

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "paper", "arxiv_id", "table_or_figure", "dataset", "dataset_id", "method", "method_id", "backbone", "metric",
    "family", "metric_definition", "value", "decimals", "scale", "ci_low", "ci_high", "n", "n_note", "size",
    "selection", "verified", "note",
)  # fmt: skip
NUMBERS = ("value", "decimals", "ci_low", "ci_high", "n", "size")
ALLOWED = {
    "dataset_id": r"tedbench|tedbench\+\+|other",
    "scale": r"1|100|2\.5|unknown|",
    "selection": r"fixed|hand|best-of-[0-9]+|unknown",
    "verified": r"true|false",
    "decimals": r"[0-9]+",
    "method_id": r"[a-z0-9]+(-[a-z0-9]+)*",
    "family": r"[a-z0-9-]*",
}
OWN_FRAME = ("clip", "dino")
"""Families whose model brings its own size and crop: a paper's evaluation resolution does not contradict them."""
PART_OF_IMAGE = ("outside",)
"""Conventions that look at a part of the image, which no published number here does."""
REPRODUCED = "reproduced"
TOLERANCE = 1e-9


def load(path: Path | None = None) -> pd.DataFrame:
    """Published numbers, one row each, with `COLUMNS`; numbers as float64, `verified` as bool, the rest as text.

    Raises:
        DataError: naming row (1 is the first below the header) and column of what is wrong.
    """
    import pandas as pd

    path = path or _default()
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as CSV ({short(error)}); restore it from the repository") from error
    missing = [column for column in COLUMNS if column not in raw.columns]
    if missing:
        raise DataError(f"{path} lacks column {missing[0]!r}; results/README.md lists them")
    for column, pattern in ALLOWED.items():
        _check(path, raw, column, lambda text, pattern=pattern: re.fullmatch(pattern, text) is not None)
    for column in NUMBERS:
        _check(path, raw, column, lambda text, column=column: _is_number(text) or (not text and column != "value"))
    typed = {column: pd.to_numeric(raw[column]).astype("float64") for column in NUMBERS}
    return raw[list(COLUMNS)].assign(**typed, verified=raw["verified"] == "true")


def compare(table: pd.DataFrame, published: pd.DataFrame, info: DatasetInfo) -> pd.DataFrame:
    """Put each published number beside those of ours that it may be compared with.

    Args:
        table: as `table.summary` makes it.
        published: as `load` makes it.
        info: the data set of `table`.

    Returns:
        A row for each (ours, published) of one method and metric family, with `ours` and `difference` in the
        published scale (nan where they cannot be told), `match`, `settings`, `verdict` and `reasons`, a tuple of
        why the two may not be comparable.
    """
    import pandas as pd

    rows = [_beside(ours, theirs, info) for ours, theirs in _candidates(table, published, info)]
    found = pd.DataFrame(rows, columns=list(_EMPTY)) if not rows else pd.DataFrame(rows)
    if not len(found):
        return found
    found["settings"] = found.groupby("published_row")["published_row"].transform("size")
    sure = _reproduced(found)
    found["verdict"] = [_verdict(row, index in sure) for index, row in found.iterrows()]
    return found


_EMPTY = (
    "run", "method", "strength", "metric", "family", "mean", "ours", "n", "asked", "paper", "arxiv_id",
    "table_or_figure", "dataset", "published_method", "backbone", "published_metric", "value", "decimals", "scale",
    "published_n", "verified", "comparable", "contradicted", "kind", "frame", "difference", "match", "complete",
    "part", "reasons", "published_row", "settings", "verdict",
)  # fmt: skip


def method_of(name: str, published_as: str, known: set[str]) -> str:
    """The published method that a method of ours stands for: the longest whose words its name contains, or ''."""
    if published_as:
        return published_as
    inside = [one for one in known if f"-{one}-" in f"-{re.sub('[^a-z0-9]+', '-', name.lower())}-"]
    return max(inside, key=len, default="")


def _candidates(
    table: pd.DataFrame, published: pd.DataFrame, info: DatasetInfo
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of one method and one family; rows on parts of TEdBench, or on who knows which, come along to be seen."""
    known = set(published["method_id"])
    near = (published["dataset_id"] == "other") & published["dataset"].str.startswith("TEdBench")
    if not info.name.startswith("tedbench"):
        return
    theirs = published[((published["dataset_id"] == info.name) | near) & (published["family"] != "")]
    # A network of the user's own is not the published one, whatever its family.
    named = table[~table["convention"].isin(PART_OF_IMAGE) & (table["custom"] != "yes")]
    for ours in named.to_dict("records"):
        method = method_of(str(ours["method"]), str(ours["published_as"]), known)
        same = theirs[(theirs["method_id"] == method) & (theirs["family"] == ours["family"])]
        for index, row in zip(same.index, same.to_dict("records"), strict=True):
            yield {str(k): v for k, v in ours.items()}, {**{str(k): v for k, v in row.items()}, "index": index}


def _beside(ours: dict[str, Any], theirs: dict[str, Any], info: DatasetInfo) -> dict[str, Any]:
    comparable = theirs["dataset_id"] == info.name and theirs["scale"] != "unknown" and not info.part
    scaled = {"1": ours["mean"], "100": ours["mean_x100"], "2.5": ours["mean_clipscore"]}.get(theirs["scale"], math.nan)
    difference = scaled - theirs["value"]  # nan where the scale is unknown
    own_frame = next((model for model in OWN_FRAME if str(ours["family"]).startswith(model)), "")
    contradicted = not own_frame and not math.isnan(theirs["size"]) and theirs["size"] != _number(ours["size"])
    whole = ours["n"] == ours["asked"] and not (ours["failed"] or ours["missing"] or ours["unscored"])
    return {
        **{key: ours[key] for key in ("run", "method", "strength", "metric", "family", "mean", "n", "asked")},
        **{key: theirs[key] for key in ("paper", "arxiv_id", "table_or_figure", "dataset", "backbone", "value")},
        **{key: theirs[key] for key in ("decimals", "scale", "verified")},
        "published_method": theirs["method"], "published_metric": theirs["metric"], "published_n": theirs["n"],
        "published_row": theirs["index"], "ours": scaled, "difference": difference, "comparable": comparable,
        "contradicted": contradicted, "kind": own_frame or "pixels",
        "frame": ours["backbone"] if own_frame else f"{ours['size']}-{ours['fit']}",
        "match": comparable and bool(abs(difference) <= 0.5 * 10.0 ** -theirs["decimals"] + TOLERANCE),
        "complete": bool(whole and ours["n"] == theirs["n"] and not info.part), "part": info.part,
        "reasons": tuple(_reasons(ours, theirs, info, contradicted)),
    }  # fmt: skip


def _reasons(ours: dict[str, Any], theirs: dict[str, Any], info: DatasetInfo, contradicted: bool) -> Iterator[str]:
    if theirs["dataset_id"] != info.name:
        yield f"data set of the published number: {theirs['dataset']}"
    if info.part:
        yield f"partial: {info.part}"
    if ours["n"] != ours["asked"]:
        yield f"partial: {ours['n']} of {ours['asked']} pairs"
    if theirs["scale"] == "unknown":
        yield "scale of the published number not stated"
    if contradicted:
        yield f"the paper states {theirs['size']:g} px, ours is {ours['size']} px"
    if not theirs["verified"]:
        yield "quoted second-hand"
    if math.isnan(theirs["n"]):
        yield f"n of the published number: {theirs['n_note'] or 'not stated'}"
    elif theirs["n"] != ours["asked"]:
        yield f"the paper's n is {theirs['n']:g}"
    best = f"published images are the {theirs['selection'].replace('-', ' ')}"
    yield _SELECTION.get(theirs["selection"], best + (", chosen by hand" if "by hand" in theirs["note"] else ""))
    if re.search(r"backbones?\b[^;]*\bnot (stated|read)", f"{theirs['metric_definition']};{theirs['note']}"):
        yield "network of the published metric not stated"
    if theirs["scale"] == "2.5" and "prefix" not in str(ours["convention"]):
        yield "CLIPScore puts 'A photo depicts ' before the text; ours has no prefix"
    if theirs["backbone"]:
        model = f"ours by {ours['model']}" if ours["model"] else "the model behind ours is not recorded"
        yield f"published images are by {theirs['backbone']}; {model}"
    if not theirs["backbone"] or re.search(r"not stated|assumed", theirs["backbone"]):
        yield "model behind the published images unclear"
    if theirs["method_id"] == "imagic" and "Imagen" in theirs["backbone"]:
        yield "the authors released results in 2022 and again in 2023; which were used is not stated"


_SELECTION = {
    "hand": "published images were chosen by hand",
    "unknown": "how the published images were chosen is not stated",
    "fixed": "published images are of one fixed setting",
}


def _reproduced(found: pd.DataFrame) -> set[Any]:
    """Indices of matches that are two metrics of one published row under one setting the paper does not contradict."""
    good = found[found["match"] & found["verified"] & found["complete"] & ~found["contradicted"]]
    row = ["paper", "table_or_figure", "dataset", "published_method", "backbone", "run", "method", "strength"]
    sure: set[Any] = set()
    for _, group in good.groupby(row, dropna=False):
        for (a, one), (b, other) in itertools.combinations(group.iterrows(), 2):
            if one["family"] != other["family"] and (one["kind"] != other["kind"] or one["frame"] == other["frame"]):
                sure |= {a, b}
    return sure


def _verdict(row: pd.Series[Any], sure: bool) -> str:
    if sure:
        return REPRODUCED
    if row["part"] or row["n"] != row["asked"]:
        return "not comparable"  # a part of the set can neither confirm nor refute a number about the whole
    if row["match"]:
        many = "1 setting" if row["settings"] == 1 else f"{row['settings']} settings"
        return f"numerically consistent ({many} searched)"
    return "differs" if row["comparable"] and not math.isnan(row["difference"]) else "not comparable"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _is_number(text: str) -> bool:
    return math.isfinite(_number(text))


def _check(path: Path, raw: pd.DataFrame, column: str, good: Any) -> None:
    for row, text in enumerate(raw[column], start=1):
        if not good(text):
            raise DataError(f"{path} row {row}, column {column!r}: {text!r} is not allowed; see results/README.md")


def _default() -> Path:
    here = Path(__file__).parent
    packed = here / "published.csv"
    return packed if packed.exists() else here.parent.parent / "results" / "published.csv"
