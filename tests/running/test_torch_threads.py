"""A process that has computed with torch forks, and what is forked computes: it neither waits for ever nor fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tedbench.running import torch_threads

METHOD = """
import sys
import threading
from dataclasses import dataclass
from typing import ClassVar

import torch

from tedbench import images
from tedbench.types import Strength

X = torch.linspace(0, 1, 1_000_000)


@dataclass(frozen=True)
class Computes:
    strength: ClassVar = Strength("amount", "a", default=0.5, grid=(0.5,), low=0.0, high=1.0)

    def fit(self, pair, seed):
        sys.setswitchinterval(1e-6)
        begun, errors = threading.Event(), []

        def compute():
            while not begun.is_set():  # all of them at once, as those that load a model's weights
                pass
            try:
                X.exp()
            except RuntimeError as error:
                errors.append(error)

        racing = [threading.Thread(target=compute) for _ in range(8)]
        for one in racing:
            one.start()
        begun.set()
        for one in racing:
            one.join()
        if errors:
            raise errors[0]
        return X.exp().sum().item(), torch.get_num_threads()

    def edit(self, pair, state, strengths, seed):
        if state != (HERE.item(), THREADS):
            raise ValueError(state)
        return [images.read(pair.image)] * len(strengths)


def here(threads):
    # As a notebook does: compute before the run.
    global HERE, THREADS
    torch.set_num_threads(threads)
    HERE, THREADS = X.exp().sum(), threads
"""
SCRIPT = """
import json, sys

import racing_threads
from tedbench import config, contenders, datasets
from tedbench.running.local import Local, Task

threads = int(sys.argv[1])
racing_threads.here(threads)
made = contenders.build([config.MethodConfig("racing_threads:Computes")])
(pair,) = datasets.load("toy:dev:1").pairs
errors = []
for _ in range(6):  # each in a new process
    executor = Local(made, 20.0, threads, "fork")
    errors += [outcome.errors[0] for _, outcome in executor.run(iter([Task(0, 0, pair, 0, (0.5,))]))]
    executor.close()
    racing_threads.X.exp()
print(json.dumps(errors))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
@pytest.mark.parametrize("threads", [1, 2])
def test_torch_computes_in_a_fork_of_a_process_that_has_computed(threads: int, tmp_path: Path) -> None:
    (tmp_path / "racing_threads.py").write_text(METHOD)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "HF_HUB_OFFLINE": "1"}
    env.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(threads)], env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [""] * 6


def test_counts_are_what_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with torch_threads.counted(3):
        assert {os.environ[name] for name in torch_threads.COUNTS} == {"3"}
    assert os.environ["OMP_NUM_THREADS"] == "5,2"
    assert "MKL_NUM_THREADS" not in os.environ
