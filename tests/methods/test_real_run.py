"""Real pairs and a saved model through the commands: run, go on, score, report. The model is tiny, all else is real."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tedbench import images, store

pytestmark = pytest.mark.slow
METHODS = ("--method", "imagic@check", "--method", "sdedit", "--method", "ddib", "--method", "diffusers@img2img")
KNOBS = ("--strengths", "0:1:0.25", "--strengths", "ddib=1:5:2", "--set", "steps=3", "--captions", "tedbench-observed")


@pytest.fixture(scope="module")
def run(cli, real_data, tmp_path_factory):
    from tedbench_methods.backbones import tiny

    home = tmp_path_factory.mktemp("real-run")
    tiny.pipeline("tiny-sd1").save_pretrained(home / "model", safe_serialization=True)
    arguments = (
        "run",
        "--dataset",
        "tedbench",
        "--data",
        real_data,
        "--limit",
        "4",
        "--model",
        "model",
        *METHODS,
        *KNOBS,
    )
    done = cli(*arguments, "--seeds", "0,1", "--out", "results/r", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "results/r: 144/144 images, 0 failed" in done.stdout
    return home, arguments


def test_every_cell_is_there_and_says_how_it_was_made(run) -> None:
    home, _ = run
    opened = store.open_run(home / "results" / "r")
    cells = opened.cell_list()
    assert len(cells) == 4 * 2 * (5 + 5 + 3 + 5)
    assert {cell.status for cell in cells} == {"ok"}
    for cell in cells:
        image = images.decode(opened.image_bytes(cell), cell.file)
        assert image.size == (64, 64)
        said = opened.facts(cell)
        assert said["model"].startswith("model-")
        assert said["threads"] == 1
        if cell.method == "imagic-check":
            assert [len(said["loss"][stage]) for stage in ("embedding", "unet")] == [3, 3]
            assert said["batches"] == [5]
        if cell.method == "ddib":
            assert said["source_text"]
    record = opened.run
    assert record.dataset.part == "first 4 of 100 pairs"
    assert record.dataset.captions.startswith("tedbench-observed")
    assert set(record.execution["imagic-check"]) == {"code", "model", "device", "dtype", "threads", "batches"}
    assert record.methods["imagic-check"]["embedding_steps"] == 3


def test_seeds_and_strengths_give_other_pictures_and_one_pair_never_anothers(run) -> None:
    opened = store.open_run(run[0] / "results" / "r")
    for method in ("imagic-check", "sdedit"):
        mine = [cell for cell in opened.cell_list() if cell.method == method and cell.strength != 0]
        assert len({cell.sha256 for cell in mine}) == len(mine)
    ddib = {(cell.uid, cell.strength): cell.sha256 for cell in opened.cell_list() if cell.method == "ddib"}
    assert len(set(ddib.values())) == len(ddib)  # it draws no noise, so both seeds gave each of these


def test_scores_and_a_report_follow(run, cli) -> None:
    home, _ = run
    scored = cli("score", "results/r", "--metrics", "lpips-alex@64,psnr@64", cwd=home)
    assert scored.returncode == 0, scored.stderr
    values = store.open_run(home / "results" / "r").scores()
    assert len(values) == 2 * 144
    assert values["value"].notna().all()
    reported = cli("report", "results/r", cwd=home)
    assert reported.returncode == 0, reported.stderr
    text = (home / "reports" / "r" / "report.md").read_text()
    assert "first 4 of 100 pairs" in text
    assert "tedbench-observed" in text
    assert "numerically consistent (" not in text  # four pairs are consistent with nothing
    assert "differs" not in text


def test_the_same_call_does_nothing_again_and_a_repeat_gives_the_same_bytes(run, cli) -> None:
    home, arguments = run
    folder = home / "results" / "r"
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    again = cli(*arguments, "--seeds", "0,1", "--out", "results/r", cwd=home)
    assert "32 sweeps were done before" in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}
    anew = cli("run", "results/r", "--out", "results/anew", cwd=home)
    assert anew.returncode == 0, anew.stderr
    hashes = [[cell.sha256 for cell in store.open_run(home / "results" / name).cell_list()] for name in ("r", "anew")]
    assert hashes[0] == hashes[1]


def test_another_model_in_the_same_place_is_noticed(run, cli) -> None:
    home, arguments = run
    shutil.copytree(home / "results" / "r", home / "results" / "other")
    before = {cell.file for cell in store.open_run(home / "results" / "other").cell_list()}
    shutil.copytree(home / "model", home / "kept")
    config = home / "model" / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "beta_end": 0.02}))
    try:
        done = cli(*arguments, "--seeds", "0", "--limit", "1", "--out", "results/other", cwd=home)
    finally:
        shutil.rmtree(home / "model")
        (home / "kept").rename(home / "model")
    assert done.returncode == 0, done.stderr
    assert "done before" not in done.stdout  # not one image of the other model is taken for this one's
    assert len({cell.file for cell in store.open_run(home / "results" / "other").cell_list()} & before) == 0


def test_a_model_that_is_not_there_ends_the_run_before_anything_is_written(run, cli, real_data) -> None:
    home, _ = run
    for model, says in (("missing", "no model folder 'missing'"), ("nobody/nothing", "cannot be fetched")):
        done = cli("run", "--data", real_data, "--method", "sdedit", "--model", model, "--out", "results/x", cwd=home)
        assert done.returncode in (5, 9)
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (home / "results" / "x").exists()
    done = cli("run", "--data", real_data, "--method", "sdedit", "--out", "results/x", cwd=home)
    assert (done.returncode, "no model named" in done.stderr) == (2, True)
    done = cli("run", "--data", real_data, "--method", "ddib", "--model", "tiny-sd1", "--out", "results/x", cwd=home)
    assert (done.returncode, "--captions" in done.stderr) == (3, True)


def test_rgba_and_large_inputs_are_edited_at_the_models_size(run) -> None:
    """The first pairs of the release are about an RGBA PNG of 1024²: four channels, and another size."""
    home, _ = run
    opened = store.open_run(home / "results" / "r")
    names = set(opened.pairs()["img_name"])
    assert "dog2_standing.png" in names
    cell = next(cell for cell in opened.cell_list() if cell.method == "sdedit" and cell.strength == 0)
    array = np.asarray(Image.open(home / "results" / "r" / cell.file))
    assert array.shape == (64, 64, 3)
    assert array.std() > 3
