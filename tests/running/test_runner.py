"""Pairs × methods: every image is there or counted, nothing is done twice, and what is run is on record."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tedbench import config, images, store
from tedbench.types import Cell

TOYS = '''
"""Methods as a stranger writes them: each call of fit leaves a line in calls.txt."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from tedbench import facts, images
from tedbench.types import Strength


@dataclass(frozen=True)
class Grain:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.0, 0.5, 1.0), low=0.0, high=1.0)
    presets: ClassVar = {"coarse": {"sigma": 80.0}}
    sigma: float = 40.0
    device: str = "auto"

    def fit(self, pair, seed):
        with Path("calls.txt").open("a") as file:
            print(type(self).__name__, pair.uid, seed, file=file)
        return images.to_uint8(images.read(pair.image)).mean(axis=(0, 1))

    def edit(self, pair, state, strengths, seed):
        x = images.to_uint8(images.read(pair.image)).astype(float)
        noise = np.random.default_rng(seed).normal(0, self.sigma, x.shape)
        edits = [(1 - a) * x + a * (state + noise) for a in strengths]
        return [Image.fromarray(edit.clip(0, 255).round().astype(np.uint8)) for edit in edits]


class Noiseless(Grain):
    deterministic: ClassVar = True

    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state, strengths, 0)


class Stretching(Grain):
    pass


@dataclass(frozen=True)
class Far(Grain):
    extrapolate: bool = False


class Raising(Grain):
    def fit(self, pair, seed):
        facts.note(step=1)
        raise RuntimeError(f"nothing is learned from {pair.uid}" + chr(10) + "second line")


class Sometimes(Grain):
    def fit(self, pair, seed):
        if pair.category == "shape":
            raise RuntimeError("shapes are too hard")
        return super().fit(pair, seed)


class Few(Grain):
    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state, strengths, seed)[1:]


class Gray(Grain):
    def edit(self, pair, state, strengths, seed):
        return [edit.convert("L") for edit in super().edit(pair, state, strengths, seed)]


class Noting(Grain):
    def fit(self, pair, seed):
        facts.note(losses=(0.5, float("nan"), np.float64(0.25)), model="m1", device="cpu", threads=seed)
        return super().fit(pair, seed)

    def edit(self, pair, state, strengths, seed):
        facts.note(batches=[len(strengths)])
        return super().edit(pair, state, strengths, seed)


class Unkept(Grain):
    def fit(self, pair, seed):
        facts.note(fine=1, weights=object(), whole=np.int64(3), half=np.float32(0.5), huge=10**5000, array=np.eye(2))
        return super().fit(pair, seed)


class Interrupted(Grain):
    def fit(self, pair, seed):
        stop = Path("stop-after")
        if stop.exists():
            left = int(stop.read_text())
            if not left:
                raise KeyboardInterrupt
            stop.write_text(str(left - 1))
        return super().fit(pair, seed)


class Unreadable(Exception):
    def __str__(self):
        raise ValueError("no message")


STRANGE = {
    "exit": SystemExit(0), "group": BaseExceptionGroup("several", [SystemExit(1)]), "generator": GeneratorExit(),
    "unreadable": Unreadable(), "surrogate": ValueError("half " + chr(0xD800)), "none": None,
}


@dataclass(frozen=True)
class Strange(Grain):
    error: str = "exit"

    def fit(self, pair, seed):
        if STRANGE[self.error] is not None:
            raise STRANGE[self.error]
        return super().fit(pair, seed)


class Leaving(Grain):
    def prepare(self):
        os.chdir("/")

    def fit(self, pair, seed):
        state = super().fit(pair, seed)
        os.chdir("/")
        return state


@dataclass(frozen=True)
class Modelled(Grain):
    model: str = ""
    gone: bool = False

    def prepare(self):
        if self.gone:
            raise SystemExit(0)
        facts.note(model=Path(self.model, "weights").read_text())


class Neighbourly(Grain):
    def edit(self, pair, state, strengths, seed):
        import helper

        return helper.same(super().edit(pair, state, strengths, seed))


class Slow(Grain):
    def edit(self, pair, state, strengths, seed):
        edits = super().edit(pair, state, strengths, seed)
        if len(Path("calls.txt").read_text().splitlines()) == 2:
            Path("waiting").touch()
            import time

            time.sleep(60)
        return edits


class Described(Grain):
    needs: ClassVar = frozenset({"instruction"})


class Shapeless:
    pass


@dataclass(frozen=True)
class Headless:
    size: int = 3
'''


@pytest.fixture
def world(drawn: tuple[Path, Path], tmp_path: Path) -> Path:
    """A user's folder: toys.py and a data set."""
    (tmp_path / "toys.py").write_text(TOYS)
    return tmp_path


@pytest.fixture
def tedbench(cli, world):  # type: ignore[no-untyped-def]
    """`tedbench run` on the drawn data into results/r, in that folder."""

    def run(*arguments: str, out: str = "results/r") -> subprocess.CompletedProcess[str]:
        data = ("--dataset", "folder", "--data", "drawn/data")
        done: subprocess.CompletedProcess[str] = cli("run", *data, *arguments, "--out", out, cwd=world)
        return done

    return run


def calls(world: Path) -> list[str]:
    return (world / "calls.txt").read_text().splitlines() if (world / "calls.txt").exists() else []


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def record(run: store.RunFolder, cell: Cell) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((run.path / cell.facts).read_text())
    return kept


def test_from_a_method_to_a_report(cli, tedbench, world):  # type: ignore[no-untyped-def]
    done = tedbench("--method", "toys:Grain", "--method", "identity", "--limit", "4", "--seeds", "0,1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "results/r: 32/32 images, 0 failed" in done.stdout
    assert "next: tedbench score results/r" in done.stdout
    run = store.open_run(world / "results" / "r")
    cells = run.cell_list()
    assert [(c.method, c.seed, c.strength) for c in cells[:6]] == [
        ("Grain", seed, a) for seed in (0, 1) for a in (0.0, 0.5, 1.0)
    ]
    assert {cell.method for cell in cells} == {"Grain", "identity"}
    assert re.fullmatch(rf"images/Grain/{re.escape(cells[1].uid)}/s0-0\.5\.[0-9a-f]{{8}}\.png", cells[1].file)
    for cell in cells:
        assert images.decode(run.image_bytes(cell), cell.file).size == (256, 256)
        assert cell.fit_seconds is not None
        assert cell.edit_seconds is not None
    assert run.run.methods["Grain"] == {
        "spec": "toys:Grain", "name": "toys:Grain", "strengths": [0.0, 0.5, 1.0], "sigma": 40.0, "device": "auto",
    }  # fmt: skip
    assert run.run.config["seeds"] == [0, 1]
    assert run.run.knobs["Grain"] == {"name": "amount", "symbol": "a", "default": 0.5}
    assert set(run.run.execution["Grain"]) == {"code"}
    assert run.run.execution["identity"].keys() == {"code"}
    assert run.run.dataset.part == "first 4 of 9 pairs"
    done = cli("score", "results/r", "--metrics", "psnr@64,lpips-alex@64", cwd=world)
    assert (done.returncode, done.stderr) == (0, "")
    done = cli("report", "results/r", cwd=world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "partial: first 4 of 9 pairs" in done.stdout
    assert "Grain · 0.5" in done.stdout
    table = (world / "reports" / "r" / "table.csv").read_text().splitlines()
    assert [line.rpartition(",")[2] for line in table] == ["part", *["first 4 of 9 pairs"] * (len(table) - 1)]
    scores = run.scores()
    assert len(scores) == 2 * len(cells)
    means = scores[(scores["method"] == "Grain") & scores["metric"].str.startswith("lpips")].groupby("strength")[
        "value"
    ]
    assert np.all(np.diff(means.mean()) > 0)


def test_a_method_without_noise_is_run_for_one_seed_and_has_rows_for_all(tedbench, world):  # type: ignore[no-untyped-def]
    asked = ("--method", "toys:Noiseless", "--method", "toys:Grain", "--limit", "2", "--seeds", "3,1,2")
    done = tedbench(*asked)
    assert done.returncode == 0, done.stderr
    made = Counter(line.split()[0] for line in calls(world))
    assert made == {"Noiseless": 2, "Grain": 6}
    run = store.open_run(world / "results" / "r")
    cells = [cell for cell in run.cell_list() if cell.method == "Noiseless"]
    assert [(cell.seed, cell.strength) for cell in cells[:9]] == [(s, a) for s in (3, 1, 2) for a in (0.0, 0.5, 1.0)]
    for first, again in itertools.product(cells[:3], cells[3:9]):
        assert (run.image_bytes(first) == run.image_bytes(again)) == (first.strength == again.strength)
    assert [record(run, cell)["facts"].get("as_seed") for cell in cells[:9:3]] == [None, 3, 3]
    before = contents(world / "results" / "r" / "images")
    (run.path / cells[4].file).unlink()
    assert (
        tedbench("--method", "toys:Noiseless", "--method", "toys:Grain", "--limit", "2", "--seeds", "3,1,2").returncode
        == 0
    )
    assert contents(world / "results" / "r" / "images") == before
    assert len(calls(world)) == 8


def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(tedbench, cli, world):  # type: ignore[no-untyped-def]
    arguments = ("--method", "toys:Interrupted", "--limit", "3", "--seeds", "0,1")
    assert tedbench(*arguments, out="results/whole").returncode == 0
    assert len(calls(world)) == 6
    (world / "calls.txt").unlink()
    (world / "stop-after").write_text("4")
    done = tedbench(*arguments)
    assert done.returncode == 130
    assert "go on with: tedbench run results/r" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    run = store.open_run(world / "results" / "r")
    assert run.cells()["status"].value_counts().to_dict() == {"ok": 12, "missing": 6}
    assert cli("score", "results/r", "--metrics", "psnr@64", cwd=world).returncode == 0
    before = {name: data for name, data in contents(run.path).items() if name.startswith(("images", "sweeps/I"))}
    (world / "stop-after").unlink()
    done = cli("run", "results/r", cwd=world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "4 sweeps were done before" in done.stdout
    assert len(calls(world)) == len(set(calls(world))) == 6
    after = contents(run.path)
    assert {name: after[name] for name in before} == before
    whole = contents(world / "results" / "whole")
    assert {n: d for n, d in after.items() if n.endswith(".png")} == {
        n: d for n, d in whole.items() if n.endswith(".png")
    }
    assert [cell.sha256 for cell in run.cell_list()] == [
        cell.sha256 for cell in store.open_run(world / "results" / "whole").cell_list()
    ]
    assert not list(run.path.rglob("*.partial"))
    # What was scored of the half run is not taken for the whole.
    done = cli("score", "results/r", "--metrics", "psnr@64", cwd=world)
    assert "18/18" in done.stdout
    assert "scored before" in cli("score", "results/r", "--metrics", "psnr@64", cwd=world).stdout


def test_what_is_damaged_is_done_again(tedbench, world):  # type: ignore[no-untyped-def]
    arguments = ("--method", "toys:Grain", "--limit", "4")
    tedbench(*arguments)
    run = store.open_run(world / "results" / "r")
    first, second, third, fourth = [cell for cell in run.cell_list() if cell.strength == 0.5]
    was = contents(run.path / "images")
    (run.path / first.file).unlink()
    (run.path / second.file).write_bytes(b"x" + run.image_bytes(second))
    (run.path / third.facts).write_text("{")
    (run.path / "images" / "Grain" / fourth.uid / ".s0-0.5.png.xyz.partial").touch()
    done = tedbench(*arguments)
    assert "1 sweeps were done before, 3 damaged ones done again" in done.stdout
    assert calls(world)[4:] == [f"Grain {cell.uid} 0" for cell in (first, second, third)]
    assert contents(run.path / "images") == was


def test_what_a_method_does_wrong_is_a_row_and_the_run_goes_on(tedbench, world):  # type: ignore[no-untyped-def]
    wrong = ["Raising", "Few", "Gray", "Unkept", "Sometimes"]
    done = tedbench(*(part for name in wrong for part in ("--method", f"toys:{name}")), "--limit", "3")
    assert done.returncode == 0
    run = store.open_run(world / "results" / "r")
    errors = {cell.method: cell.error for cell in run.cell_list() if cell.status == "failed"}
    assert errors["Raising"].startswith("RuntimeError: nothing is learned from")
    assert "2 images for 3 strengths" in errors["Few"]
    assert "mode 'L'" in errors["Gray"]
    assert "Unkept" not in errors  # what it had to say is lost in part, its images are not
    count = run.cells().groupby("method")["status"].value_counts()
    assert (count["Sometimes", "failed"], count["Sometimes", "ok"]) == (3, 6)
    assert count["Raising", "failed"] == 9
    failed = next(cell for cell in run.cell_list() if cell.method == "Raising")
    assert "second line" in record(run, failed)["traceback"]
    assert run.facts(failed) == {"step": 1}
    unkept = next(cell for cell in run.cell_list() if cell.method == "Unkept")
    assert run.facts(unkept) == {"fine": 1, "whole": 3, "half": 0.5, "unstorable": ["weights", "huge", "array"]}
    failed_lines = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed_lines) == 10
    assert "PARTIAL: 30 of 45 images failed" in done.stderr.splitlines()[-1]
    again = tedbench(*(part for name in wrong for part in ("--method", f"toys:{name}")), "--limit", "3")
    assert "10 sweeps failed before and were not tried again; --retry-failed" in again.stderr


def test_nothing_made_is_an_error(tedbench):  # type: ignore[no-untyped-def]
    done = tedbench("--method", "toys:Raising", "--limit", "1")
    assert done.returncode == 9
    assert "0/3 images, 3 failed" in done.stdout


def test_what_is_noted_is_kept(tedbench, world):  # type: ignore[no-untyped-def]
    assert tedbench("--method", "toys:Noting", "--limit", "2", "--seeds", "3,4").returncode == 0
    run = store.open_run(world / "results" / "r")
    assert run.facts(run.cell_list()[0]) == {
        "losses": [0.5, "nan", 0.25], "model": "m1", "device": "cpu", "threads": 3, "batches": [3],
    }  # fmt: skip
    (code,) = run.run.execution["Noting"].pop("code")
    assert re.fullmatch("[0-9a-f]{64}", code)
    assert run.run.execution == {"Noting": {"model": ["m1"], "device": ["cpu"], "threads": [3, 4], "batches": [[3]]}}


def test_a_file_and_flags_ask_for_the_same(cli, tedbench, world):  # type: ignore[no-untyped-def]
    (world / "sub").mkdir()
    (world / "sub" / "run.toml").write_text(
        'dataset = "folder"\ndata = "../drawn/data"\nlimit = 2\nseeds = [0, 1]\n'
        '[[methods]]\nname = "toys:Grain@coarse"\nstrengths = "0:1:0.25"\n[[methods]]\nname = "identity"\n'
    )
    assert cli("run", "sub/run.toml", "--out", "results/r", cwd=world).returncode == 0
    before = len(calls(world))
    flags = ("--method", "toys:Grain@coarse", "--method", "identity", "--limit", "2", "--seeds", "0:1:1")
    done = tedbench(*flags, "--strengths", "toys:Grain=0:1:0.25")
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 sweeps were done before" in done.stdout
    assert len(calls(world)) == before
    run = store.open_run(world / "results" / "r").run
    assert run.methods["Grain-coarse"]["sigma"] == 80.0
    assert run.methods["Grain-coarse"]["strengths"] == [0.0, 0.25, 0.5, 0.75, 1.0]
    done = cli("run", "results/r", "--out", "results/again", cwd=world)
    assert done.returncode == 0
    again = store.open_run(world / "results" / "again").run
    assert {label: {**fields, "spec": ""} for label, fields in again.methods.items()} == {
        label: {**fields, "spec": ""} for label, fields in run.methods.items()
    }
    assert contents(world / "results" / "again" / "images") == contents(world / "results" / "r" / "images")
    # A flag overrules the file.
    assert cli("run", "sub/run.toml", "--seeds", "7", "--out", "results/seven", cwd=world).returncode == 0
    assert store.open_run(world / "results" / "seven").run.config["seeds"] == [7]


def test_only_what_moves_a_pixel_is_done_again(cli, tedbench, world):  # type: ignore[no-untyped-def]
    """By content: what another configuration has in common with what is there is taken, and what is there stays."""
    assert tedbench("--method", "toys:Grain", "--limit", "2").returncode == 0
    first = {(cell.uid, cell.strength): cell.sha256 for cell in store.open_run(world / "results" / "r").cell_list()}
    pictures = contents(world / "results" / "r" / "images")

    def more(*arguments: str) -> int:
        before = len(calls(world))
        done = tedbench("--method", "toys:Grain", "--limit", "2", *arguments)
        assert done.returncode == 0, done.stderr
        after = contents(world / "results" / "r" / "images")
        assert {name: after[name] for name in pictures} == pictures
        return len(calls(world)) - before

    assert more() == 0
    assert more("--device", "cpu") == 0
    assert more("--strengths", "0,1") == 0  # fewer
    assert more("--strengths", "0,0.25,1") == 2  # one more: each pair is fitted again, for that one alone
    assert more("--seeds", "1,0") == 2  # the other seed only
    assert more("--set", "sigma=3") == 2
    assert more("--set", "sigma=40") == 0
    assert more("--method", "identity") == 0
    labelled = world / "labelled.toml"
    labelled.write_text('dataset = "folder"\ndata = "drawn/data"\nlimit = 2\n[[methods]]\nname = "toys:Grain"\n'
                        'label = "sand"\n')  # fmt: skip
    before = len(calls(world))
    assert cli("run", "labelled.toml", "--out", "results/r", cwd=world).returncode == 0
    assert len(calls(world)) == before
    cells = store.open_run(world / "results" / "r").cell_list()
    assert {cell.method for cell in cells} == {"sand"}
    assert {(cell.uid, cell.strength): cell.sha256 for cell in cells} == first
    done = tedbench("--method", "toys:Grain", "--limit", "3")
    assert "2 sweeps were done before" in done.stdout  # one pair more
    (world / "toys.py").write_text(TOYS.replace("40.0", "30.0 + 10.0"))
    assert more() == 2  # other code, whatever it does


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "no method"),
        (("--method", "toys:Nothing"), 7, "does not import"),
        (("--method", "identty"), 2, "Did you mean 'identity'?"),
        (("--method", "toys:Headless"), 2, "its class lacks strength, fit, edit"),
        (("--method", "toys:Shapeless"), 7, "is not a dataclass"),
        (("--method", "toys:Grain@fine"), 2, "no preset of method"),
        (("--method", "toys:Grain", "--set", "sgima=3"), 2, "Did you mean 'sigma'?"),
        (("--method", "toys:Grain", "--set", "sigma"), 2, "write field=value"),
        (("--method", "toys:Grain", "--set", "sigma=x"), 2, "sigma='x'"),
        (("--method", "toys:Grain", "--set", "grian.sigma=3"), 2, "no method of this run"),
        (("--method", "toys:Grain?sigma=3", "--set", "toys:Grain.sigma=4"), 2, "sets sigma itself"),
        (("--method", "toys:Grain", "--model", "m"), 2, "--model: no method of this run has a field 'model'"),
        (("--method", "toys:Grain", "--strengths", "0:1"), 2, "low:high:step"),
        (("--method", "toys:Grain", "--strengths", "0:2:0.5"), 2, "amount 1.5 is outside its range [0, 1]"),
        (("--method", "toys:Grain", "--strengths", "0,1", "--extrapolate"), 2, "--extrapolate: no method"),
        (("--method", "toys:Grain", "--seeds", "0,-1"), 2, "-1 is no seed"),
        (("--method", "toys:Grain", "--seeds", "0.5"), 2, "0.5 is no seed"),
        (("--method", "toys:Grain", "--limit", "0"), 2, "at least 1"),
        (("--method", "toys:Described"), 3, "needs instruction, which no pair"),
        (("--method", "outputs"), 2, "outputs@FOLDER"),
        (("--method", "outputs@nowhere"), 3, "no folder nowhere"),
        (("--method", "toys:Modelled", "--set", "gone=true"), 7, "cannot be prepared: SystemExit"),
        (("--method", "toys:Grain?gone=1"), 2, "no field of method"),
        (("--method", "outputs@edits?template={uid}-{strength}.png"), 2, "give them with --strengths"),
        (("--method", "toys:Grain", "--data", "nowhere"), 3, "nowhere"),
    ],
)
def test_what_cannot_be_run_is_one_line_before_anything_is(tedbench, world, arguments, code, says):  # type: ignore[no-untyped-def]
    done = tedbench(*arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert says in done.stderr
    assert not (world / "results").exists()


def test_beyond_the_range_needs_a_word_and_a_method_that_can(tedbench, world):  # type: ignore[no-untyped-def]
    arguments = ("--method", "toys:Far", "--limit", "1", "--strengths", "0,1.5")
    refused = tedbench(*arguments)
    assert refused.returncode == 2
    assert "--extrapolate" in refused.stderr
    assert tedbench(*arguments, "--extrapolate").returncode == 0
    assert store.open_run(world / "results" / "r").run.methods["Far"]["extrapolate"] is True


def test_methods_of_one_name_are_told_apart(tedbench, world):  # type: ignore[no-untyped-def]
    specs = ("toys:Grain", "toys:Grain@coarse", "toys:Grain?sigma=3", "toys:Grain?sigma=3")
    assert tedbench(*(part for spec in specs for part in ("--method", spec)), "--limit", "1").returncode == 0
    run = store.open_run(world / "results" / "r")
    assert list(run.run.methods) == ["Grain", "Grain-coarse", "Grain-sigma-3", "Grain-sigma-3-2"]
    assert [run.run.methods[label]["sigma"] for label in run.run.methods] == [40.0, 80.0, 3.0, 3.0]


def test_a_second_runner_is_refused(tedbench, world):  # type: ignore[no-untyped-def]
    arguments = ("--method", "toys:Grain", "--limit", "1")
    tedbench(*arguments)
    handle = os.open(world / "results" / "r" / "sweeps", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        done = tedbench(*arguments)
    finally:
        os.close(handle)
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
    assert "another process" in done.stderr
    assert tedbench(*arguments).returncode == 0


def test_what_is_no_run_is_left_alone(cli, tedbench, drawn, world):  # type: ignore[no-untyped-def]
    (world / "mine").mkdir()
    (world / "mine" / "thesis.txt").touch()
    done = tedbench("--method", "identity", out="mine")
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 1)
    data = ("--dataset", "folder", "--data", drawn[0])
    cli("import", drawn[1], *data, "--method", "m", "--out", "results/r", cwd=world)
    before = contents(world / "results")
    done = tedbench("--method", "identity")
    assert done.returncode == 6
    assert "imported" in done.stderr
    assert cli("run", "results/r", cwd=world).returncode == 6
    assert contents(world / "results") == before


def test_a_run_moves_with_its_data(cli, tedbench, world):  # type: ignore[no-untyped-def]
    tedbench("--method", "identity", "--limit", "2")
    (world / "elsewhere").mkdir()
    for name in ("results", "drawn"):
        (world / name).rename(world / "elsewhere" / name)
    (world / "elsewhere" / "results" / "r" / "cells.jsonl").unlink()
    done = cli("run", world / "elsewhere" / "results" / "r", cwd=world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 sweeps were done before" in done.stdout


def test_outputs_of_another_program_stand_beside_ours(tedbench, world):  # type: ignore[no-untyped-def]
    done = tedbench("--method", "outputs@drawn/edits", "--method", "identity")
    assert (done.returncode, done.stderr) == (0, "")
    run = store.open_run(world / "results" / "r")
    one = next(cell for cell in run.cell_list() if cell.method == "outputs")
    theirs = {Image.open(path).tobytes() for path in (world / "drawn" / "edits").iterdir()}
    assert images.decode(run.image_bytes(one), one.file).tobytes() in theirs


def test_whatever_is_raised_is_a_row(tedbench, world):  # type: ignore[no-untyped-def]
    names = ("exit", "group", "generator", "unreadable", "surrogate", "none")
    specs = [part for name in names for part in ("--method", f"toys:Strange?error={name}")]
    done = tedbench(*specs, "--limit", "1")
    assert done.returncode == 0
    assert "3/18 images, 15 failed" in done.stdout
    errors = {cell.method: cell.error for cell in store.open_run(world / "results" / "r").cell_list()}
    assert [errors[f"Strange-error-{name}"] for name in names] == [
        "SystemExit: 0", "BaseExceptionGroup: several (1 sub-exception)", "GeneratorExit",
        "Unreadable: (its message cannot be read)", "ValueError: half ?", "",
    ]  # fmt: skip


def test_a_method_that_goes_elsewhere_does_not_take_the_run_along(tedbench, world):  # type: ignore[no-untyped-def]
    done = tedbench("--method", "toys:Leaving", "--limit", "2", "--seeds", "0,1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "results/r: 12/12 images" in done.stdout


def test_a_run_finds_its_model_from_another_folder(cli, tedbench, world):  # type: ignore[no-untyped-def]
    for place in ("mdl", "copy", "other"):
        (world / place).mkdir()
        (world / place / "weights").write_text("m2" if place == "other" else "m1")
    arguments = ("--method", "toys:Modelled", "--limit", "1")
    assert tedbench(*arguments, "--model", "mdl").returncode == 0
    run = store.open_run(world / "results" / "r").run
    assert run.methods["Modelled"]["model"] == "mdl"
    assert run.config["paths"] == {"Modelled": {"model": "../../mdl"}}
    (world / "sub").mkdir()
    (world / "sub" / "toys.py").write_text(TOYS)
    done = cli("run", "../results/r", cwd=world / "sub")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 sweeps were done before" in done.stdout
    # The same weights under another path, on another device: the same run.
    done = tedbench(*arguments, "--model", "copy", "--device", "cpu")
    assert "1 sweeps were done before" in done.stdout, done.stderr
    before = len(calls(world))
    done = tedbench(*arguments, "--model", "other")
    assert (done.returncode, "done before" in done.stdout) == (0, False)
    assert len(calls(world)) == before + 1


def test_a_word_that_is_also_a_folder_stays_a_word(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in ("cpu", "edits", "a/b"):
        (tmp_path / name).mkdir(parents=True)
    fields = {"device": "cpu", "folder": "edits", "at": "a/b", "gone": "a/c", "n": 3, "model": "x" * 400}
    assert config.paths(fields, tmp_path / "results" / "r") == {"folder": "../../edits", "at": "../../a/b"}


def test_what_failed_is_tried_again_when_asked(tedbench, world):  # type: ignore[no-untyped-def]
    arguments = ("--method", "toys:Neighbourly", "--limit", "2")
    failed = tedbench(*arguments)
    assert failed.returncode == 9
    assert failed.stderr.splitlines()[-1].startswith("NOTHING MADE: 6 of 6 images failed")
    assert "tedbench run results/r --retry-failed" in failed.stderr
    assert tedbench(*arguments).returncode == 9
    assert len(calls(world)) == 2
    assert tedbench(*arguments, "--retry-failed").returncode == 9
    assert len(calls(world)) == 4
    (world / "helper.py").write_text("def same(edits):\n    return edits\n")  # imported as late as in edit
    done = tedbench(*arguments)  # other code: another sweep, which has not failed yet
    assert (done.returncode, done.stderr) == (0, "")
    assert "6/6 images, 0 failed" in done.stdout
    assert tedbench(*arguments, "--retry-failed").returncode == 0
    assert len(calls(world)) == 6


def test_sigterm_is_as_ctrl_c(world, cli):  # type: ignore[no-untyped-def]
    command = [Path(sys.executable).with_name("tedbench"), "run", "--dataset", "folder", "--data", "drawn/data"]
    command += ["--method", "toys:Slow", "--limit", "3", "--out", "a run"]
    with subprocess.Popen(command, cwd=world, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not (world / "waiting").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 143
    assert said.splitlines() == ["tedbench: terminated; what is done is kept, go on with: tedbench run 'a run'"]
    cells = store.open_run(world / "a run").cell_list()
    assert [cell.status for cell in cells] == ["ok"] * 3 + ["missing"] * 6
    scored = cli("score", "a run", "--metrics", "psnr@64", cwd=world)
    assert "not finished: 6 of 9 images are missing; go on with: tedbench run 'a run'" in scored.stderr
    assert "next: tedbench report 'a run' --out 'reports/a run'" in scored.stdout


def test_a_report_refuses_scores_of_other_images(cli, tedbench, world):  # type: ignore[no-untyped-def]
    """A run that was scored half done, and then finished: what the scores are of is no longer there."""
    assert tedbench("--method", "toys:Grain", "--limit", "2").returncode == 0
    assert cli("score", "results/r", "--metrics", "psnr@64", cwd=world).returncode == 0
    assert cli("report", "results/r", cwd=world).returncode == 0
    folder = world / "results" / "r"
    cells = [json.loads(line) for line in (folder / "cells.jsonl").read_text().splitlines()]
    store_cells = [{**cell, "sha256": "0" * 64} if at == 0 else cell for at, cell in enumerate(cells)]
    (folder / "cells.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in store_cells))
    done = cli("report", "results/r", cwd=world)
    assert done.returncode == 6
    assert "psnr@64 was scored on other images than are there now" in done.stderr


def test_a_run_in_a_linked_folder_goes_on(cli, tedbench, world):  # type: ignore[no-untyped-def]
    (world / "scratch" / "deep" / "er").mkdir(parents=True)
    (world / "linked").symlink_to(world / "scratch" / "deep" / "er")
    assert tedbench("--method", "identity", "--limit", "2", out="linked/r").returncode == 0
    done = cli("run", "linked/r", cwd=world)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 sweeps were done before" in done.stdout
