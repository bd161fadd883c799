"""A run is killed at random moments and taken up again: what comes of it is what an undisturbed run gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tedbench import store
from tedbench.store import RunFolder

KILLS = 25
METHODS = ("--method", "sdedit@toy", "--method", "crossfade@toy", "--method", "identity")
ASKED = ("--dataset", "toy:dev:8", *METHODS, "--set", "steps=4", "--seeds", "0,1", "--strengths", "0.2,0.8")
HARNESS = f"""
import json, os, random, signal, sys, time

# What takes seconds to import is imported once; each run is a fork of this process, in no way else prepared.
import torch, diffusers, transformers
import tedbench_methods.sdedit, tedbench_methods.anchors
from tedbench.cli import main

torch.set_num_threads(1)


def begin(out):
    child = os.fork()
    if child:
        return child
    said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.argv = ["tedbench", "run", *{ASKED!r}, "--threads", "1", "--out", out]
    try:
        main()
    except SystemExit as end:
        os._exit(end.code or 0)
    os._exit(0)


def done(out):
    path = out + "/sweeps/done.jsonl"
    return open(path).read().count('"key"') if os.path.exists(path) else 0


chance = random.Random(7)
kills = runs = 0
while kills < {KILLS}:  # a run that ends before its turn to be killed is whole, and another one begins
    out = f"killed{{runs}}"
    before, child = done(out), begin(out)
    # Half of them at any moment, also while it starts; half of them some sweeps later, however busy the machine is.
    sweeps, wait = chance.choice([0, 0, 0, 1, 2, 3]), chance.uniform(0.05, 2.0)
    ended, status = 0, 0
    while sweeps and not ended and done(out) < before + sweeps:
        time.sleep(0.02)
        ended, status = os.waitpid(child, os.WNOHANG)
    time.sleep(wait / 10 if sweeps else wait)
    if not ended:
        ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
        assert os.waitstatus_to_exitcode(status) == 0, (status, open("said.txt").read())
        runs += 1
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        print(json.dumps([out, done(out)]), flush=True)
code = os.waitstatus_to_exitcode(os.waitpid(begin(out), 0)[1])
print(json.dumps({{"code": code, "runs": sorted({{out for out in os.listdir() if out.startswith("killed")}})}}))
"""


@pytest.mark.slow
def test_killed_at_random_moments_and_taken_up_again(tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    whole = subprocess.run(
        [Path(sys.executable).with_name("tedbench"), "run", *ASKED, "--threads", "1", "--out", "whole"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    done = subprocess.run(
        [sys.executable, "-c", HARNESS],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    *kills, end = [json.loads(line) for line in done.stdout.splitlines()]
    assert end["code"] == 0
    assert len(kills) == KILLS
    assert len({lines for _, lines in kills}) > 5  # in the midst of work
    for name in end["runs"]:
        counts = [lines for out, lines in kills if out == name]
        assert counts == sorted(counts)  # nothing that was done is lost
        _check_same(store.open_run(tmp_path / "whole"), store.open_run(tmp_path / name))


def _check_same(whole: RunFolder, killed: RunFolder) -> None:
    runs = (whole, killed)
    rows = [
        [(c.uid, c.method, c.seed, c.strength, c.status, c.file, c.sha256) for c in run.cell_list()] for run in runs
    ]
    assert rows[0] == rows[1]
    assert {row[4] for row in rows[0]} == {"ok"}
    images = [
        {
            str(path.relative_to(run.path)): path.read_bytes()
            for path in (run.path / "images").rglob("*")
            if path.is_file()
        }
        for run in runs
    ]
    assert images[0] == images[1]
    assert not [path for path in killed.path.rglob("*") if "partial" in path.name]
    keys = [json.loads(line)["key"] for line in (killed.path / "sweeps" / "done.jsonl").read_text().splitlines()
            if "key" in line]  # fmt: skip
    assert len(keys) == len(set(keys))  # no sweep that was done was done again
