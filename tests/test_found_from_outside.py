"""Defects that a check from outside found, each as the user would meet it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, demo, environment, importing, registry, scoring, store
from tedbench.errors import DataError, StoreError


@pytest.fixture
def run(drawn, tmp_path):  # type: ignore[no-untyped-def]
    """A run on disk, imported; its data set is at drawn[0]."""
    dataset = datasets.load("folder", drawn[0])
    importing.import_folder(importing.Source(drawn[1], "m"), dataset, tmp_path / "run")
    return store.open_run(tmp_path / "run")


def score(run: store.RunFolder, data: Path, *specs: str, again: bool = False) -> scoring.Scored:
    loaded = datasets.load("folder", data)
    return scoring.score_run(store.open_run(run.path), loaded, scoring.make_metrics(specs), again)


def test_a_reference_that_is_no_scored_run_is_left_out_of_a_demo(run, tmp_path):  # type: ignore[no-untyped-def]
    assert not demo.is_scored(tmp_path / "nothing")
    assert not demo.is_scored(run.path)


def test_a_demo_removes_only_what_a_demo_made(run, tmp_path):  # type: ignore[no-untyped-def]
    with pytest.raises(StoreError, match="not what an earlier demo left"):
        demo.clear(run.path)
    assert (run.path / "run.json").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError):
        demo.clear(mine)
    assert (mine / "thesis.txt").exists()


def test_a_report_is_not_written_over_the_folder_one_is_in(run, drawn, tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    from tedbench import report

    score(run, drawn[0], "psnr@64")
    report.write_report([run.path], tmp_path / "report")
    before = sorted(path.name for path in (tmp_path / "report").iterdir())
    monkeypatch.chdir(tmp_path / "report")
    with pytest.raises(StoreError, match="folder you are in"):
        report.write_report([run.path], Path())
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == before


def test_scores_that_are_gone_are_made_again(run, drawn):  # type: ignore[no-untyped-def]
    score(run, drawn[0], "psnr@64")
    (run.path / "scores.parquet").unlink()
    assert score(run, drawn[0], "psnr@64").skipped == ()
    assert len(run.scores()) == len(run.cell_list())


def test_a_value_keeps_its_last_space_and_may_hold_a_comma() -> None:
    assert registry.split("psnr@64, clip-text?prefix=A photo depicts ") == [
        "psnr@64",
        "clip-text?prefix=A photo depicts ",
    ]
    assert registry.parse("clip-text@local-dir:a%2Cb?prefix=x%20")[1:] == ("local-dir:a,b", {"prefix": "x "})


def test_captions_that_were_given_are_not_filled_up_with_others(run, drawn, tmp_path):  # type: ignore[no-untyped-def]
    dataset = datasets.load("folder", drawn[0])
    from dataclasses import replace

    bare = replace(
        dataset,
        info=replace(dataset.info, captions="mine 1"),
        pairs=(dataset.pairs[0], *(replace(pair, source_text=None) for pair in dataset.pairs[1:])),
    )
    pairs = scoring._matching_pairs(run, bare)
    assert [uid for uid, pair in pairs.items() if pair.source_text] == [dataset.pairs[0].uid]


def test_a_mask_that_changed_is_refused(run, drawn):  # type: ignore[no-untyped-def]
    masks = {pair.mask.path for pair in datasets.load("folder", drawn[0]).pairs if pair.mask and pair.mask.path}
    for path in masks:
        with Image.open(path) as mask:
            inverted = 255 - np.asarray(mask.convert("L"))
        Image.fromarray(inverted).save(path)
    with pytest.raises(StoreError, match="another mask"):
        score(run, drawn[0], "psnr@64?region=outside")


def test_one_mask_that_covers_all_costs_one_row(drawn, tmp_path):  # type: ignore[no-untyped-def]
    first = datasets.load("folder", drawn[0]).pairs[0]
    assert first.mask and first.mask.path
    with Image.open(first.mask.path) as mask:
        size = mask.size
    Image.new("L", size, 255).save(first.mask.path)
    dataset = datasets.load("folder", drawn[0])
    importing.import_folder(importing.Source(drawn[1], "m"), dataset, tmp_path / "run")
    run = store.open_run(tmp_path / "run")
    score(run, drawn[0], "psnr@64?region=outside", "ssim@64")
    frame = run.scores()
    empty = frame[frame["value"].isna()]
    assert set(empty["uid"]) == {pair.uid for pair in dataset.pairs if pair.mask == dataset.pairs[0].mask}
    assert empty["metric"].str.startswith("psnr").all()


def test_two_spellings_of_one_file_are_one_file(run, drawn, tmp_path):  # type: ignore[no-untyped-def]
    dataset = datasets.load("folder", drawn[0])
    names = importing.expected_files(importing.Source(drawn[1], "m"), dataset.pairs)
    rows = [
        {"img_name": p.image.name, "target_text": p.target_text, "file": f"./{names[p.uid]}"} for p in dataset.pairs
    ]
    manifest = tmp_path / "m.json"
    manifest.write_text(json.dumps(rows))
    found = importing.import_folder(importing.Source(drawn[1], "m", manifest=manifest), dataset, tmp_path / "dotted")
    assert found.extra == ()
    rows[1]["file"] = rows[0]["file"].removeprefix("./")
    manifest.write_text(json.dumps(rows))
    with pytest.raises(DataError, match="each needs its own"):
        importing.import_folder(importing.Source(drawn[1], "m", manifest=manifest), dataset, tmp_path / "twice")


def test_images_without_a_score_are_failures_in_the_report(run, drawn, tmp_path):  # type: ignore[no-untyped-def]
    from tedbench import report

    cell = run.cell_list()[0]
    (run.path / cell.file).unlink()
    score(run, drawn[0], "psnr@64")
    report.write_report([run.path], tmp_path / "report")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "unscored" in text
    assert "every image that was asked for is there" not in text
    assert "cannot be read" in text


def test_a_text_too_long_for_a_file_name_is_a_missing_row(drawn, tmp_path):  # type: ignore[no-untyped-def]
    manifest = drawn[0] / "manifest.csv"
    rows = manifest.read_text(encoding="utf-8").splitlines()
    target = datasets.load("folder", drawn[0]).pairs[0].target_text
    manifest.write_text(
        "\n".join([rows[0], rows[1].replace(target, "very " * 80 + "long"), *rows[2:]]), encoding="utf-8"
    )
    dataset = datasets.load("folder", drawn[0])
    found = importing.import_folder(importing.Source(drawn[1], "m"), dataset, tmp_path / "run")
    assert len(found.missing) == 1


def test_git_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert environment.git_commit() == ""


@pytest.mark.parametrize("content", ['{"x": {}}', "[]", '{"x": 1}'])
def test_foreign_metric_facts_are_named(run, content):  # type: ignore[no-untyped-def]
    (run.path / "metrics.json").write_text(content)
    with pytest.raises(StoreError, match=r"metrics\.json"):
        store.open_run(run.path).metrics  # noqa: B018


def test_a_parquet_of_another_schema_is_named(run):  # type: ignore[no-untyped-def]
    import pandas as pd

    pd.DataFrame({"a": [1]}).to_parquet(run.path / "scores.parquet")
    with pytest.raises(StoreError, match="other columns"):
        run.scores()


@pytest.mark.slow
def test_two_scorings_at_once_lose_nothing(run, drawn):  # type: ignore[no-untyped-def]
    tedbench = Path(sys.executable).with_name("tedbench")
    specs = ["psnr@64", "ssim@64", "psnr@32"]
    calls = [[tedbench, "score", run.path, "--metrics", spec, "--data", drawn[0]] for spec in specs]
    for process in [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for call in calls]:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
    again = store.open_run(run.path)
    assert len(again.metrics) == len(specs)
    assert set(again.scores()["metric"]) == set(again.metrics) == again.scored()


@pytest.mark.slow
def test_a_metric_beside_the_user_is_found(run, drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    source = Path(__file__).with_name("test_scoring.py").read_text(encoding="utf-8")
    body = source[source.index("@dataclass(frozen=True)") : source.index("class Short")]
    head = """from dataclasses import dataclass
from typing import ClassVar, Sequence
import numpy as np
EditPair = Image = object
"""
    (tmp_path / "mine.py").write_text(head + body, encoding="utf-8")
    done = cli("score", "run", "--metrics", "mine:Brightness@0.5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "brightness/0.5" in done.stdout


def test_a_method_can_be_named_as_the_published_one(drawn, tmp_path, cli):  # type: ignore[no-untyped-def]
    arguments = ["--dataset", "folder", "--data", drawn[0], "--method", "m", "--published-as", "imagic"]
    assert cli("import", drawn[1], *arguments, "--out", tmp_path / "r").returncode == 0
    assert store.open_run(tmp_path / "r").run.methods["m"]["published_as"] == "imagic"
