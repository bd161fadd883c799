"""The first job on real input: the authors' released results, scored and set beside what papers print."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, importing, report, scoring, store

pytestmark = pytest.mark.slow
SPECS = ["lpips-alex@256", "lpips-alex@512"]


@pytest.fixture(scope="module")
def scored(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> store.RunFolder:
    out = tmp_path_factory.mktemp("real") / "run"
    dataset = datasets.load("tedbench", real_data)
    importing.import_folder(importing.Source(real_data / "imagic", "imagic-published"), dataset, out)
    scoring.score_run(store.open_run(out), dataset, scoring.make_metrics(SPECS))
    return store.open_run(out)


@pytest.mark.parametrize("size", [256, 512])
def test_every_pair_has_the_reference_package_s_own_value(
    scored: store.RunFolder, real_data: Path, reference_lpips, size: int
) -> None:  # type: ignore[no-untyped-def]
    import torch

    def tensor(path: Path) -> torch.Tensor:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1

    frame = scored.scores()
    values = frame[frame["metric"].str.contains(f"/{size}-")].set_index("uid")["value"]
    by_uid = scored.pairs().set_index("uid")["img_name"]
    cells = [cell for cell in scored.cell_list() if cell.status == "ok"]
    assert len(cells) == 40
    for cell in cells:
        with torch.inference_mode():
            original = tensor(real_data / "originals" / by_uid[cell.uid])
            expected = reference_lpips(original, tensor(real_data / "imagic" / cell.source_file)).item()
        assert values[cell.uid] == pytest.approx(expected, abs=1e-5)


def test_the_report_says_40_of_100_and_shows_published_numbers(scored: store.RunFolder, tmp_path: Path) -> None:
    report.write_report([scored.path], tmp_path / "report")
    for name in ("index.html", "report.md"):
        text = (tmp_path / "report" / name).read_text(encoding="utf-8")
        for expected in ("40/100", "0.52", "0.59", "0.537", "2411.16819"):
            assert expected in text, (name, expected)
    table = (tmp_path / "report" / "table.csv").read_text(encoding="utf-8")
    frame = scored.scores()
    mean = frame.loc[frame["metric"].str.contains("/256-"), "value"].mean()
    assert f"{mean:.6f}"[:7] in table


def test_a_full_set_changes_nothing_but_the_folder(real_data: Path, tmp_path: Path, cli) -> None:  # type: ignore[no-untyped-def]
    """100 files, each its own picture, by the authors' naming rule."""
    dataset = datasets.load("tedbench", real_data)
    names = importing.expected_files(importing.Source(tmp_path, "m"), dataset.pairs)
    (tmp_path / "edits").mkdir()
    generator = np.random.default_rng(0)
    for name in names.values():
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((128, 128), Image.Resampling.BICUBIC).save(tmp_path / "edits" / name)
    run = tmp_path / "run"
    done = cli(
        "import", tmp_path / "edits", "--dataset", "tedbench", "--data", real_data, "--method", "full", "--out", run
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "100/100" in done.stdout
    assert "PARTIAL" not in done.stdout
    done = cli("score", run, "--metrics", "lpips-alex@64")
    assert done.returncode == 0, done.stderr
    frame = store.read_scores(run)
    assert frame["value"].notna().sum() == 100
    assert frame["value"].nunique() == 100
    assert frame["image_id"].nunique() == 39
    done = cli("report", run, "--out", tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert "100/100" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert json.loads((run / "run.json").read_text())["dataset"]["name"] == "tedbench"
