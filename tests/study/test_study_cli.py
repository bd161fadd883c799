"""From runs to a table of preferences, by commands alone."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tedbench import datasets, environment, images, scoring, store
from tedbench.datasets import drawn
from tedbench.study import answers as rows
from tedbench.study import bundle, simulating
from tedbench.study.bundle import MAIN
from tedbench.types import Cell, Run

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with two scored runs, `runs/good` and `runs/bad`, and a study of them, `study`."""
    folder = tmp_path_factory.mktemp("cli")
    data, edits = drawn.write(folder, n=8)
    bad = folder / "bad"
    bad.mkdir()
    for at, path in enumerate(sorted(edits.iterdir())):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        Image.fromarray(255 - pixels if at else pixels).save(bad / path.name)  # one pair of equal pictures
    for name, place in (("good", edits), ("bad", bad)):
        run = folder / "runs" / name
        done = cli("import", place, "--dataset", "folder", "--data", data, "--method", name, "--out", run)
        assert done.returncode == 0, done.stderr
        assert cli("score", run, "--metrics", "psnr@64").returncode == 0
    (folder / "study.toml").write_text(
        'title = "Which is better?"\nmethods = ["good", "bad"]\n[per_rater]\nquestions = 12\nrepeats = 2\nchecks = 2\n'
        '[sample]\nraters = 30\n[ethics]\napproval = "EK 7/26"\n'
    )
    runs = [folder / "runs" / name for name in ("good", "bad")]
    done = cli("study", "build", *runs, "--out", folder / "study", "--config", folder / "study.toml", "--allow", "same")
    assert done.returncode == 0, done.stderr
    assert "12 questions on 8 photos" in done.stdout
    assert "1 questions of identical pictures" in done.stderr
    assert "no licence" in done.stderr
    assert "approval" not in done.stderr
    return folder


@pytest.fixture(scope="module")
def answered(made: Path) -> Path:
    """Answers of 30 simulated raters who like `good`, and one who writes formulas."""
    study = bundle.open_study(made / "study")
    crowd = simulating.Crowd(photos=0.5, raters=0.5)
    found = simulating.simulate(study, {"good": 1.2, "bad": 0.0}, 5, 30, crowd)
    path = made / "answers.csv"
    path.write_bytes(rows.as_csv(found.answers))
    return path


def test_the_table_is_that_of_the_answers(made: Path, answered: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = cli("study", "analyse", made / "study", answered, "--out", out)
    assert done.returncode == 0, done.stderr
    with (out / "raters.csv").open() as file:
        kept = {row["rater"] for row in csv.DictReader(file) if row["excluded"] == "False"}
    assert 15 <= len(kept) < 30
    key = bundle.open_study(made / "study").key.by_id
    seen: set[tuple[str, str]] = set()
    won: list[float] = []
    everybody: list[float] = []
    for one in sorted(rows.from_csv(answered), key=lambda one: (one.rater, one.slot)):
        if key[one.question].kind != MAIN or (one.rater, one.question) in seen:
            continue
        seen.add((one.rater, one.question))
        left, right = key[one.question].first.label, key[one.question].second.label
        left, right = (right, left) if one.flipped else (left, right)
        value = {"same": 0.5, "left": float(left == "good"), "right": float(right == "good")}[one.choice]
        everybody.append(value)
        won += [value] if one.rater in kept else []
    for name, wanted in (("rates.csv", won), ("rates_all.csv", everybody)):
        with (out / name).open() as file:
            (row,) = csv.DictReader(file)
        assert (row["first"], row["second"]) == ("good", "bad")
        assert float(row["mean"]) == pytest.approx(np.mean(wanted))
        assert int(row["n"]) == len(wanted)
        assert float(row["low"]) < float(row["mean"]) < float(row["high"])
    assert f"good was preferred to bad in {100 * np.mean(won):.1f}% of answers" in done.stdout
    assert "caught: random" in (out / "study.md").read_text()


def test_the_page_is_whole_and_runs_nothing(made: Path, answered: Path, cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "report"
    assert cli("study", "analyse", made / "study", answered, "--out", out).returncode == 0
    page = (out / "index.html").read_text()
    assert "<script" not in page
    assert not re.search(r"https?://", page)
    assert "EK 7/26" in page
    assert "psnr@64" in page
    assert "confirmatory" in page
    table = [line for line in (out / "study.md").read_text().splitlines() if line.startswith("|")]
    for above, below in itertools.pairwise(table):
        if set(below) <= set("|-: "):
            assert above.count("|") == below.count("|")
    assert json.loads((out / "analysis.json").read_text())["answers"] == {"answers.csv": 360}


def test_departures_are_exploratory(made: Path, answered: Path, cli: Cli, tmp_path: Path) -> None:
    flags = ("--exclude", "failed_checks=off", "--exclude", "median_seconds=0.8")
    done = cli("study", "analyse", made / "study", answered, "--out", tmp_path / "r", *flags)
    assert done.returncode == 0, done.stderr
    assert "exploratory: exclusion failed_checks is None; study.lock says 1" in done.stdout
    page = (tmp_path / "r" / "study.md").read_text()
    assert "Exploratory throughout" in page
    assert "confirmatory" not in page


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("analyse", "study"), 6, "answers.sqlite is not there; `tedbench study serve` makes it"),
        (("analyse", "study", "study.toml"), 3, "no file of answers; columns expected"),
        (("analyse", "study", "answers.csv", "--exclude", "speed=3"), 2, "rules: failed_checks, changed_repeats"),
        (("analyse", "study", "answers.csv", "--exclude", "failed_checks=x"), 2, "a number, on or off"),
        (("analyse", "study", "answers.csv", "--primary", "good:ugly"), 2, "known: good:bad"),
        (("analyse", "study", "answers.csv", "--out", "runs"), 6, "holds no analysis.json"),
        (("analyse", "runs"), 6, "no study.lock; make a study"),
        (("build", "runs/good", "--out", "new"), 2, "two methods or more"),
        (("build", "runs/good", "runs/bad", "--out", "study"), 6, "exists already"),
        (("build", "runs/good", "runs/bad", "--out", "new", "--wording", "?", "--split"), 2, "exclude each other"),
        (("build", "runs/good", "runs/bad", "--out", "new", "--primary", "good"), 2, "two methods, as A:B"),
        (("build", "runs/good", "runs/bad", "--out", "new", "--allow", "both"), 2, "'same' or 'neither'"),
        (("build", "runs/good", "runs/bad", "--out", "new", "--config", "wrong.toml"), 2, "no key 'raters'; known: "),
        (("build", "runs/good", "runs/bad", "--out", "new", "--questions", "5"), 2, "leave"),
        (("forget", "study"), 2, "--rater NAME, or --platform and --identifier"),
        (("answers", "study", "--out", "new"), 6, "is not there"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    made: Path, answered: Path, cli: Cli, arguments: tuple[str, ...], code: int, said: str
) -> None:
    (made / "wrong.toml").write_text("raters = 3\n")
    before = sorted(path.name for path in made.iterdir())
    done = cli("study", *arguments, cwd=made)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") <= 2  # a caution may stand before it
    assert sorted(path.name for path in made.iterdir()) == before
    assert answered.exists()


@contextmanager
def running(*arguments: str | Path, **env: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """`tedbench study …` that serves, its address and its admin token."""
    command = [str(Path(sys.executable).with_name("tedbench")), "study", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, **env})  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = [process.stdout.readline()]
        while lines[-1] and "admin:" not in lines[-1]:
            lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
        raters = next(line.split()[1] for line in lines if line.startswith("raters:"))
        yield process, raters, lines[-1].split()[-1]
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
        process.stderr.close()


def ask(url: str, body: Any = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=20) as answer:
        return json.loads(answer.read())


def sit(url: str, token: str) -> None:
    """Answer everything, always the left."""
    state = ask(f"{url}api/r/{token}")
    while state["state"] == "question":
        body = {"slot": state["slot"], "choices": {"overall": "left"}, "ms": 2000}
        state = ask(f"{url}api/r/{token}/answers", body)
    assert state["state"] == "done"


def test_serve_links_answers_forget(made: Path, cli: Cli, tmp_path: Path) -> None:
    study = made / "study"
    database = ("--database", tmp_path / "answers.sqlite")
    with running("serve", study, "--port", "0", *database) as (process, url, admin):
        begun = {"consent_version": "1", "platform": "prolific", "identifier": "=1+1", "session": "s", "study": "t"}
        sit(url, ask(f"{url}api/start", begun)["token"])
        done = cli("study", "links", study, "-n", "2", "--base", url, *database)
        links = done.stdout.split()
        assert len(set(links)) == 2
        token = links[0].removeprefix(f"{url}r/")
        ask(f"{url}api/start", {"consent_version": "1", "token": token})
        sit(url, token)
        assert ask(f"{url}admin/api/progress", token=admin)["finished"] == 2
        second = cli("study", "serve", study, "--port", "0", *database)
        assert second.returncode == 2
        assert "another process" in second.stderr
        assert cli("study", "forget", study, "--platform", "prolific", "--identifier", "=1+1", *database).returncode
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, 128 + signal.SIGTERM)
    assert cli("study", "answers", study, "--out", tmp_path / "a.csv", *database).returncode == 0
    found = rows.from_csv(tmp_path / "a.csv")
    assert Counter(one.rater for one in found).most_common() == [(name, 12) for name in dict.fromkeys(
        one.rater for one in found)]  # fmt: skip
    assert len({one.rater for one in found}) == 2
    paid = tmp_path / "paid.csv"
    assert cli("study", "answers", study, "--out", paid, "--identities", *database).returncode == 0
    assert "'=1+1" in paid.read_text()
    assert paid.stat().st_mode & 0o077 == 0
    who = ("--platform", "prolific", "--identifier", "=1+1")
    assert cli("study", "forget", study, *who, "--export", tmp_path / "held.json", *database).returncode == 0
    assert len(json.loads((tmp_path / "held.json").read_text())["answers"]) == 12
    assert cli("study", "forget", study, *who, *database).returncode == 0
    again = cli("study", "forget", study, *who, *database)
    assert again.returncode == 2
    assert "no rater" in again.stderr
    done = cli("study", "analyse", study, "--out", tmp_path / "r", *database)
    assert done.returncode == 0, done.stderr
    assert "1 raters answered" in done.stdout or "excluded: 1 of 1 raters" in done.stdout


def test_invited_means_invited(made: Path, tmp_path: Path) -> None:
    with (
        running("serve", made / "study", "--port", "0", "--invited", "--database", tmp_path / "b.sqlite") as (
            _,
            url,
            _t,
        ),
        pytest.raises(urllib.error.HTTPError, match="403"),
    ):
        ask(f"{url}api/start", {"consent_version": "1"})


def painted(out: Path) -> Path:
    """A scored run over toy questions whose methods bear the demonstration's names, and are the inputs in tints."""
    dataset = datasets.load("toy:test:6")
    cells = []
    for at, method in enumerate(("identity", "imagic", "sdedit", "ddib")):
        (out / "images" / method).mkdir(parents=True)
        for pair in dataset.pairs:
            pixels = np.asarray(images.read(pair.image)).astype(int)
            pixels[..., at % 3] = pixels[..., at % 3] * (4 - at) // 4
            data = images.encode_png(Image.fromarray(pixels.astype(np.uint8)))
            name = f"images/{method}/{pair.uid}.png"
            (out / name).write_bytes(data)
            cells.append(Cell(pair.uid, pair.image_id, None, method, 0, 0.5, "ok", name, images.sha256(data)))
    methods: dict[str, dict[str, Any]] = {cell.method: {} for cell in cells}
    run = Run("demo", environment.now(), "run", dataset.info, methods, ("tedbench", "demo"), {}, {}, "")
    store.write_run(out, run, dataset.pairs, cells)
    scoring.score_run(store.open_run(out), dataset, scoring.make_metrics(("psnr@64",)))
    return out


def test_one_command_makes_the_demonstrations_study_and_opens_it(tmp_path: Path) -> None:
    run, out = painted(tmp_path / "demo"), tmp_path / "demo-study"
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(0o755)
    with running("demo", "--run", run, "--out", out, BROWSER=f"{browser} %s") as (process, url, admin):
        sit(url, ask(f"{url}api/start", {"consent_version": "1"})["token"])
        assert ask(f"{url}admin/api/progress", token=admin)["answers"] == 20
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert seen.read_text().strip() == url
    assert {one.label for one in bundle.open_study(out).lock.contenders} == {"imagic", "sdedit", "ddib"}
    with running("demo", "--run", run, "--out", out, "--no-browser") as (_, url, admin):
        assert ask(f"{url}admin/api/progress", token=admin)["answers"] == 20  # it goes on


def test_power_says_answers_and_raters(cli: Cli) -> None:
    done = cli("study", "power", "--photos", "39", "--photo-correlation", "0", "--rater-correlation", "0")
    assert re.search(r"60% told .*: 194 answers a pair of methods, 17 raters", done.stdout)
    done = cli("study", "power", "--photos", "4", "--photo-correlation", "0.3")
    assert done.stdout.count("no number of answers will do on 4 photos") == 2
    assert cli("study", "power", "--photos", "4", "--rate", "0.4").returncode == 2
