from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tedbench.errors import DataError, UsageError
from tedbench.report import published
from tedbench.report.table import Material, by_category, check_one_dataset, failures, summary
from tedbench.types import DatasetInfo, MetricFacts, Run

INFO = DatasetInfo("tedbench", "folder", "", "0" * 64)
LPIPS_256 = "lpips-alex-0.1/256-crop"
LPIPS_512 = "lpips-alex-0.1/512-crop"
CLIP_I = "clip-image-B32"
CLIP_I_L = "clip-image-L14"
CLIP_T = "clip-text-B32"
FACTS: dict[str, dict[str, str | float]] = {
    LPIPS_256: {"family": "lpips", "backbone": "alex", "size": 256, "fit": "crop"},
    LPIPS_512: {"family": "lpips", "backbone": "alex", "size": 512, "fit": "crop"},
    CLIP_I: {"family": "clip-image", "backbone": "B32", "size": 224, "fit": "shortest", "convention": "cos"},
    CLIP_I_L: {"family": "clip-image", "backbone": "L14", "size": 224, "fit": "shortest", "convention": "cos"},
    CLIP_T: {"family": "clip-text", "backbone": "B32", "size": 224, "fit": "shortest", "convention": "cos"},
}
Values = Mapping[str, list[float]]


def run_of(method: str, info: DatasetInfo = INFO, **fields: Any) -> Run:
    return Run("r", "", "import", info, {method: fields}, (), {}, {}, "")


def made(values: Values, method: str = "imagic-published", asked: int = 100, **fields: Any) -> Material:
    """Pairs p0, p1 …, two on each photo, of which the first len(values[…]) have an image and a value."""
    pairs = pd.DataFrame({"uid": [f"p{k}" for k in range(asked)], "image_id": [f"i{k // 2}" for k in range(asked)]})
    n = len(next(iter(values.values())))
    common = pairs.assign(run="r", method=method, category=None, seed=pd.array([pd.NA] * asked, "Int64"))
    common["strength"] = math.nan
    status = ["ok"] * n + ["missing"] * (asked - n)
    scores = [common.assign(metric=m, value=v + [math.nan] * (asked - n)) for m, v in values.items()]
    facts = {m: MetricFacts(m, m, "lpips" not in m, 0.0, 1.0, FACTS[m]) for m in values}
    cells = common.assign(status=status, error="")
    return Material({"r": run_of(method, **fields)}, pairs, cells, pd.concat(scores, ignore_index=True), facts)


def compared(values: Values, published_rows: pd.DataFrame | None = None, **options: Any) -> pd.DataFrame:
    rows = published.load() if published_rows is None else published_rows
    return published.compare(summary(made(values, **options)), rows, INFO)


def verdict(frame: pd.DataFrame, arxiv_id: str, metric: str) -> str:
    one = frame[(frame["arxiv_id"] == arxiv_id) & (frame["metric"] == metric)]
    assert len(one) == 1
    return str(one["verdict"].iloc[0])


def reasons(frame: pd.DataFrame, arxiv_id: str, metric: str = LPIPS_256) -> str:
    return "; ".join(frame[(frame["arxiv_id"] == arxiv_id) & (frame["metric"] == metric)]["reasons"].iloc[0])


def test_the_table_counts_what_is_not_there() -> None:
    row = summary(made({LPIPS_256: [0.2, 0.4, 0.6]}, asked=10)).iloc[0]
    assert (row["n"], row["asked"], row["missing"], row["failed"], row["images"]) == (3, 10, 7, 0, 2)
    assert row["mean"] == pytest.approx(0.4)
    assert row["median"] == pytest.approx(0.4)
    assert len(failures(made({LPIPS_256: [0.2]}, asked=10))) == 9


def test_an_image_without_a_score_is_counted_apart() -> None:
    row = summary(made({LPIPS_256: [0.2, math.nan, 0.6]}, asked=3)).iloc[0]
    assert (row["n"], row["unscored"], row["missing"]) == (2, 1, 0)


def test_seeds_and_strengths() -> None:
    one = made({LPIPS_256: [0.0, 1.0]}, asked=2)
    seeds = [(0, 0.5, 0.1), (1, 0.5, 0.3), (0, 0.7, 0.9)]
    scores = pd.concat(
        [one.scores.assign(seed=pd.array([s] * 2, "Int64"), strength=eta, value=v) for s, eta, v in seeds]
    )
    cells = pd.concat([one.cells.assign(seed=pd.array([s] * 2, "Int64"), strength=eta) for s, eta, _ in seeds])
    found = summary(Material(one.runs, one.pairs, cells, scores, one.metrics)).set_index("strength")
    assert found["mean"].to_dict() == pytest.approx({0.5: 0.2, 0.7: 0.9})
    assert found["n"].to_dict() == {0.5: 2, 0.7: 2}
    assert found["seeds"].to_dict() == {0.5: 2, 0.7: 1}


def test_clip_conventions() -> None:
    row = summary(made({CLIP_T: [0.3, -0.1], LPIPS_256: [0.1, 0.2]}, asked=2)).set_index("metric")
    assert row.loc[CLIP_T, "mean_x100"] == pytest.approx(10)
    assert row.loc[CLIP_T, "mean_clipscore"] == pytest.approx(2.5 * 0.3 / 2)  # the negative cosine counts as 0
    assert row["mean_x100"].isna().to_dict() == {CLIP_T: False, LPIPS_256: True}


def test_categories_only_where_there_are_some() -> None:
    one = made({LPIPS_256: [0.2, 0.4]}, asked=2)
    assert len(by_category(one)) == 0
    named = one.scores.assign(category=["pose", "style"])
    found = by_category(Material(one.runs, one.pairs, one.cells, named, one.metrics))
    assert dict(zip(found["category"], found["mean"], strict=True)) == {"pose": 0.2, "style": 0.4}


def test_runs_over_different_pairs_are_not_mixed() -> None:
    other = run_of("m", DatasetInfo("tedbench++", "folder", "", "1" * 64))
    with pytest.raises(UsageError, match="report them apart"):
        check_one_dataset({"a": run_of("m"), "b": other})
    check_one_dataset({"a": run_of("m"), "b": run_of("n")})


def test_the_shipped_numbers() -> None:
    rows = published.load()
    assert len(rows) == 146
    assert rows["value"].notna().all()
    assert not rows.loc[rows["arxiv_id"] == "2309.10556", "verified"].any()
    assert (rows.loc[rows["size"].notna(), "arxiv_id"] == "2411.16819").all()
    assert not rows["note"].str.contains("index").any()


def test_shipped_numbers_equal_the_source() -> None:
    source = Path(__file__).resolve().parents[3] / "shared" / "published_results.csv"
    if not source.exists():
        pytest.skip("published_results.csv is not beside this checkout")
    raw = pd.read_csv(source, dtype=str, keep_default_na=False)
    ours = pd.read_csv(Path(__file__).parents[2] / "results" / "published.csv", dtype=str, keep_default_na=False)
    kept = [column for column in raw.columns if column in ours.columns and column not in ("note", "n")]
    pd.testing.assert_frame_equal(ours[kept], raw[kept])
    assert ((ours["verified"] == "true") == (raw["source_read"] == "yes")).all()
    assert (ours["decimals"].astype(int) == raw["value"].map(lambda v: len(v.partition(".")[2]))).all()


@pytest.mark.parametrize(
    ("column", "value"),
    [("value", "1,013"), ("value", ""), ("scale", "10"), ("verified", "yes"), ("n", "about 100"), ("dataset_id", "x")],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, value: str) -> None:
    raw = pd.read_csv(Path(__file__).parents[2] / "results" / "published.csv", dtype=str, keep_default_na=False)
    raw.loc[6, column] = value
    raw.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(DataError, match=rf"row 7, column '{column}'") as caught:
        published.load(tmp_path / "p.csv")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    for content in (b"", b"a,b\n1,2\n", b"\xff\xfe\x00"):
        (tmp_path / "p.csv").write_bytes(content)
        with pytest.raises(DataError):
            published.load(tmp_path / "p.csv")


def test_one_match_is_called_consistent_and_counts_the_settings() -> None:
    frame = compared({LPIPS_256: [0.52] * 100, LPIPS_512: [0.593] * 100})
    assert verdict(frame, "2411.16819", LPIPS_256) == "numerically consistent (2 settings searched)"
    assert verdict(frame, "2411.16819", LPIPS_512) == "differs"
    assert "the paper states 512 px, ours is 256 px" in reasons(frame, "2411.16819")
    assert "best of 15" in reasons(frame, "2411.16819")
    assert "2022" in reasons(frame, "2411.16819")


@pytest.mark.parametrize(("value", "match"), [(0.5249, True), (0.525, True), (0.5252, False), (0.5149, False)])
def test_half_a_unit_of_the_last_digit(value: float, match: bool) -> None:
    frame = compared({LPIPS_256: [value] * 100})
    assert frame.set_index("arxiv_id").loc["2411.16819", "match"] == match


def test_two_metrics_under_one_setting_are_reproduced() -> None:
    frame = compared({LPIPS_512: [0.52] * 100, CLIP_I: [0.86] * 100})
    assert set(frame.loc[frame["arxiv_id"] == "2411.16819", "verdict"]) == {"reproduced"}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({LPIPS_256: [0.52] * 100, CLIP_I: [0.86] * 100}, "the paper states 512"),
        ({LPIPS_512: [0.52] * 99, CLIP_I: [0.86] * 99}, "not all pairs"),
        ({LPIPS_512: [0.52] * 100, LPIPS_256: [0.52] * 100}, "two settings of one family"),
        ({CLIP_I: [0.86] * 100, CLIP_I_L: [0.86] * 100}, "two networks of one family"),
    ],
)
def test_what_is_not_reproduced(values: Values, why: str) -> None:
    frame = compared(values)
    assert not (frame["verdict"] == "reproduced").any(), why
    assert frame["match"].any()


def test_two_matches_of_different_clip_networks_are_not_one_setting() -> None:
    rows = published.load()
    text = rows.index[(rows["method"] == "Imagic") & (rows["metric"] == "CLIP") & (rows["arxiv_id"] == "2411.16819")]
    rows.loc[text, "scale"] = "1"
    values = {CLIP_T: [0.63] * 100, CLIP_I_L: [0.86] * 100}
    assert not (compared(values, rows)["verdict"] == "reproduced").any()
    same = {CLIP_T: [0.63] * 100, CLIP_I: [0.86] * 100}
    assert (compared(same, rows)["verdict"] == "reproduced").any()


def test_second_hand_numbers_are_never_reproduced() -> None:
    frame = compared({LPIPS_256: [0.537] * 100, CLIP_T: [0.748 / 2.5] * 100})
    forgedit = frame[frame["arxiv_id"] == "2309.10556"]
    assert len(forgedit) == 2
    assert forgedit["match"].all()
    assert set(forgedit["verdict"]) == {"numerically consistent (1 setting searched)"}
    assert "quoted second-hand" in reasons(frame, "2309.10556")


def test_an_unclear_data_set_is_shown_but_not_compared() -> None:
    frame = compared({LPIPS_256: [0.59] * 100})
    assert verdict(frame, "2311.16711", LPIPS_256) == "not comparable"
    assert "unclear" in reasons(frame, "2311.16711")
    assert frame.set_index("arxiv_id").loc["2311.16711", "value"] == 0.59


def test_an_unknown_scale_gives_no_difference() -> None:
    frame = compared({CLIP_T: [0.63] * 100})
    assert verdict(frame, "2411.16819", CLIP_T) == "not comparable"
    assert frame[frame["scale"] == "unknown"]["difference"].isna().all()
    assert "scale" in reasons(frame, "2411.16819", CLIP_T)


def test_the_first_pairs_of_a_set_confirm_and_refute_nothing() -> None:
    part = replace(INFO, part="first 4 of 100 pairs")
    for value in (0.52, 0.1):
        frame = published.compare(summary(made({LPIPS_256: [value] * 4}, asked=4)), published.load(), part)
        assert len(frame)
        assert set(frame["verdict"]) == {"not comparable"}
        assert not frame["complete"].any()
        assert all("partial: first 4 of 100 pairs" in why for why in frame["reasons"])


def test_partial_sets_say_so() -> None:
    partial = compared({LPIPS_256: [0.52] * 40})
    assert "partial: 40 of 100 pairs" in reasons(partial, "2411.16819")
    # Equal or not: 40 pairs neither confirm nor refute a number about 100.
    assert set(partial["verdict"]) == {"not comparable"}
    assert partial["difference"].notna().any()


def test_the_scale_of_the_paper() -> None:
    rows = published.load()
    rows.loc[rows["metric"] == "CLIP-text_pct", "dataset_id"] = "tedbench"
    frame = compared({CLIP_T: [0.3108] * 100}, rows, method="leditspp")
    one = frame[frame["scale"] == "100"].iloc[0]
    assert one["difference"] == pytest.approx(0, abs=1e-9)
    assert one["ours"] == pytest.approx(31.08)


def test_which_published_method_ours_stands_for() -> None:
    known = {"imagic", "leditspp", "leditspp-fresca", "f2f"}
    assert published.method_of("imagic-published", "", known) == "imagic"
    assert published.method_of("my leditspp_fresca", "", known) == "leditspp-fresca"
    assert published.method_of("f2f2", "", known) == ""
    assert published.method_of("anything", "f2f", known) == "f2f"
    assert len(compared({LPIPS_256: [0.5] * 100}, method="mine")) == 0
    assert len(compared({LPIPS_256: [0.5] * 100}, method="mine", published_as="imagic")) == 3


def test_other_data_sets_have_no_published_numbers() -> None:
    table = summary(made({LPIPS_256: [0.5] * 100}))
    assert len(published.compare(table, published.load(), DatasetInfo("folder", "folder", "", ""))) == 0
