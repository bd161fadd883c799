"""Fits kept in a run's folder serve further strengths; dropped ones are made again when needed, and not before."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tedbench import contenders, store
from tedbench.config import MethodConfig, RunConfig, from_run
from tedbench.running import keeping, runner
from tedbench.running.progress import How

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
LEARNER = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from tedbench import facts, images
from tedbench.types import Strength


@dataclass(frozen=True)
class Learner:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5), low=0.0, high=1.0)
    fits: str = ""

    def prepare(self):
        if self.fits:
            Path(self.fits).mkdir(exist_ok=True)

    def fit(self, pair, seed):
        kept = Path(self.fits, f"{pair.uid}--s{seed}.fit") if self.fits else None
        if kept is not None and kept.exists():
            facts.note(fit_from=kept.name)
            return kept.read_text()
        with Path("fitted.txt").open("a") as file:
            print(pair.uid, file=file)
        if kept is not None:
            kept.write_text("learned")
        return "learned"

    def edit(self, pair, state, strengths, seed):
        x = images.read(pair.image)
        return [Image.blend(x, Image.new("RGB", x.size, (9, 99, 9)), a) for a in strengths]


@dataclass(frozen=True)
class Forgetful(Learner):
    fits: int = 0  # whatever this is, it is no folder

    def prepare(self):
        pass
"""


@pytest.fixture
def world(drawn: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "learning.py").write_text(LEARNER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(keep: bool, *strengths: float, out: str = "r", **options: Any) -> list[str]:
    """What was fitted for a run of two pairs."""
    Path("fitted.txt").unlink(missing_ok=True)
    method = MethodConfig("learning:Learner", options, strengths=strengths)
    asked = RunConfig((method,), "folder", Path("drawn/data"), limit=2, keep_fits=keep)
    runner.run(asked, Path(out))
    return Path("fitted.txt").read_text().splitlines() if Path("fitted.txt").exists() else []


def test_what_is_kept_serves_and_what_is_dropped_is_made_when_needed(world: Path) -> None:
    assert len(made(False, 0.0)) == 2
    assert not Path("r/fits").exists()
    assert made(True, 0.0) == []  # switching it redoes nothing
    assert len(made(True, 0.0, 0.5)) == 2
    assert len(keeping.fits(Path("r")).files) == 2
    assert made(True, 0.0, 0.5, 0.7) == []
    run = store.open_run(Path("r"))
    assert {run.facts(cell)["fit_from"] for cell in run.cell_list()} == {
        path.name for path in keeping.fits(run.path).files
    }
    assert run.run.methods["Learner"]["fits"] == ""  # it goes where the run goes
    assert "paths" not in run.run.config or run.run.config["paths"] == {}
    keeping.remove_fits(run.path)
    assert made(True, 0.0, 0.5, 0.7) == []
    assert len(made(True, 0.0, 0.5, 0.7, 1.0)) == 2
    assert len(made(False, 0.1)) == 2  # dropped: those that are there are not looked at
    assert len(keeping.fits(run.path).files) == 2


def test_a_run_goes_on_keeping_wherever_it_was_moved(world: Path) -> None:
    assert len(made(True, 0.0)) == 2
    Path("deep").mkdir()
    Path("r").rename("deep/moved")
    asked = from_run(store.open_run(Path("deep/moved")).run, Path("deep/moved"))
    assert asked.keep_fits
    (method,) = asked.methods
    Path("fitted.txt").unlink()
    data = {"data": Path("drawn/data"), "limit": 2, "keep_fits": asked.keep_fits}
    runner.run(RunConfig((MethodConfig(method.spec, method.options, strengths=(0.0, 1.0)),), "folder", **data),
               Path("deep/moved"))  # fmt: skip
    assert not Path("fitted.txt").exists()
    assert not Path("r").exists()


def test_a_folder_of_ones_own_stays_and_other_fields_too(world: Path) -> None:
    Path("mine").mkdir()
    assert len(made(True, 0.0, fits="mine")) == 2
    assert len(list(Path("mine").iterdir())) == 2
    assert not Path("r/fits").exists()
    configs = [MethodConfig(f"learning:{name}") for name in ("Learner", "Learner?fits=", "Forgetful")]
    made_of = [one.method.fits for one in contenders.build(configs, Path("there"))]  # type: ignore[attr-defined]
    assert made_of == ["there", "", 0]


def test_a_run_that_began_nothing_leaves_nothing_and_scratch_of_the_dead_goes(world: Path) -> None:
    with pytest.raises(RuntimeError), runner.opened(Path("n").absolute(), Path("n")):
        Path("n/fits").mkdir()
        raise RuntimeError
    assert not Path("n").exists()
    made(True, 0.0)
    (Path("r/fits") / ".fit1234").mkdir()
    (Path("r/fits") / ".fit1234" / "half").write_text("")
    made(True, 0.0)
    assert not [path for path in Path("r/fits").iterdir() if path.name.startswith(".")]
    Path("n/fits").mkdir(parents=True)
    (Path("n/fits") / "one.fit").write_text("kept")
    assert len(made(True, 0.0, out="n")) == 2  # fits of a run of which nothing else is there are no strangers


def test_they_are_listed_and_removed_after_asking_alone(world: Path, cli: Cli) -> None:
    made(True, 0.0)
    listed = cli("gc", "r", cwd=world)
    assert listed.stdout.splitlines() == ["r/fits: 2 fits, 14 bytes", "r: every sweep there is asked for"]
    assert cli("gc", "r", "--fits", "--delete", cwd=world).returncode != 0  # nobody answers
    assert cli("gc", "r", "--delete", "--yes", cwd=world).returncode == 0  # of sweeps
    assert "kept; --fits --delete removes them" in cli("gc", "r", "--fits", cwd=world).stdout
    assert len(keeping.fits(Path("r")).files) == 2
    done = cli("gc", "r", "--fits", "--delete", "--yes", cwd=world)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "deleted 2 fits")
    assert keeping.fits(Path("r")).files == ()


def test_they_do_not_leave_the_house(world: Path, cli: Cli) -> None:
    made(True, 0.0)
    assert cli("score", "r", "--metrics", "psnr@64", cwd=world).returncode == 0
    assert cli("submit", "r", "--images", "--out", "r.zip", cwd=world).returncode == 0
    with zipfile.ZipFile("r.zip") as packed:
        assert not [name for name in packed.namelist() if "fit" in name.rpartition("/")[2] or name.startswith("fits")]
        assert json.loads(packed.read("run.json"))["config"]["keep_fits"] is True
        assert json.loads(packed.read("run.json"))["config"]["png_level"] == 6
    assert {path.name for path in Path("r").iterdir()} <= set(store.FILES)


@pytest.mark.slow
def test_imagic_takes_a_further_strength_from_what_it_has_learned(tmp_path: Path) -> None:
    few = {"embedding_steps": 2, "tuning_steps": 2, "steps": 2, "model": "toy", "device": "cpu"}

    def notes(keep: bool, *strengths: float) -> list[dict[str, Any]]:
        method = MethodConfig("imagic@toy", few, strengths=strengths)
        runner.run(RunConfig((method,), "toy:dev:1", keep_fits=keep), tmp_path / "r", how=How(threads=1))
        run = store.open_run(tmp_path / "r")
        assert {cell.status for cell in run.cell_list()} == {"ok"}
        return [run.facts(cell) for cell in run.cell_list()]

    (first,) = notes(True, 0.5)
    assert "fit_from" not in first
    (kept,) = keeping.fits(tmp_path / "r").files
    assert [one["fit_from"] for one in notes(True, 0.5, 0.9)] == [kept.name] * 2
    keeping.remove_fits(tmp_path / "r")
    assert ["fit_from" in one for one in notes(False, 0.5, 0.9, 1.0)] == [False] * 3
    assert keeping.fits(tmp_path / "r").files == ()
