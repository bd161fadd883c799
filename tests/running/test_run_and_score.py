"""A file that names metrics: its images are scored once nothing is missing, and no metric has anything run again."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tedbench import store

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
ASKED = """
dataset = "folder"
data = "drawn/data"
limit = 2
metrics = ["psnr@64"]
[[methods]]
name = "identity"
"""


@pytest.fixture
def folder(drawn: tuple[Path, Path], tmp_path: Path) -> Path:
    (tmp_path / "asked.toml").write_text(ASKED)
    return tmp_path


def test_metrics_of_a_file_are_scored_and_have_nothing_run_again(cli: Cli, folder: Path) -> None:
    assert "scored with psnr@64, once nothing is missing" in cli("plan", "asked.toml", cwd=folder).stdout
    done = cli("run", "asked.toml", "--out", "r", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "psnr@64: mean inf over 2/2" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: tedbench report r --out reports/r"
    assert json.loads((folder / "r/run.json").read_text())["config"]["metrics"] == ["psnr@64"]
    journal = (folder / "r/sweeps/done.jsonl").read_bytes().count(b'"key"')
    again = cli("run", "r", cwd=folder)
    assert "2 sweeps were done before" in again.stdout
    assert "psnr@64: scored before" in again.stdout
    other = cli("run", "r", "--metrics", "ssim, psnr@64", cwd=folder)
    assert "2 sweeps were done before" in other.stdout
    assert "ssim: mean 1.0000 over 2/2" in other.stdout
    assert json.loads((folder / "r/run.json").read_text())["config"]["metrics"] == ["ssim", "psnr@64"]
    assert (folder / "r/sweeps/done.jsonl").read_bytes().count(b'"key"') == journal
    assert store.read_scores(folder / "r")["metric"].nunique() == 2


def test_a_part_is_not_scored_and_a_wrong_metric_begins_nothing(cli: Cli, folder: Path) -> None:
    done = cli("run", "asked.toml", "--shard", "1/2", "--out", "part", cwd=folder)
    assert done.returncode == 0
    assert "not scored yet, since 1 images are missing" in done.stdout
    assert not (folder / "part/scores.parquet").exists()
    wrong = cli("run", "asked.toml", "--metrics", "psnrr", "--out", "no", cwd=folder)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("tedbench: no metric named 'psnrr'. Did you mean 'psnr'?")
    assert not (folder / "no").exists()
