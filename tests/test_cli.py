from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tedbench import __version__

COMMANDS = [(), ("list",), ("data",), ("data", "fetch"), ("data", "verify"), ("data", "list"), ("run",), ("import",),
            ("score",), ("report",), ("submit",), ("verify",), ("export",), ("demo",)]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_reads_well(cli, command):  # type: ignore[no-untyped-def]
    done = cli(*command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {' '.join(('tedbench', *command))}")
    assert done.stderr == ""


def test_list_loads_neither_torch_nor_pandas_and_is_quick() -> None:
    code = (
        "import sys, tedbench.cli; sys.argv = ['tedbench', 'list']\n"
        "try: tedbench.cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'pandas', 'numpy', 'diffusers', 'transformers', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    best = 1e9
    for _ in range(3):  # the best of three: a busy machine is not the program's fault
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        best = min(best, time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
    assert "lpips-alex" in done.stdout
    assert "identity" in done.stdout
    assert best < 1.5  # 0.5 s on an idle machine


def test_version_and_no_arguments(cli):  # type: ignore[no-untyped-def]
    assert cli("--version").stdout == f"tedbench {__version__}\n"
    bare = cli()
    assert bare.returncode == 2
    assert "Commands:" in bare.stdout


def test_a_stranger_that_leaves_does_not_look_like_success(cli, drawn, tmp_path):  # type: ignore[no-untyped-def]
    (tmp_path / "leaver.py").write_text("import sys\n\nsys.exit(0)\n")
    arguments = ("--dataset", "folder", "--data", drawn[0], "--out", "results/r")
    done = cli("run", "--method", "leaver:Any", *arguments, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (7, 1)
    assert "does not import: SystemExit" in done.stderr
    code = (
        "import sys, tedbench.cli, tedbench.datasets as datasets\n"
        "datasets.list_datasets = lambda: sys.exit(0)\n"
        "sys.argv = ['tedbench', 'data', 'list']\n"
        "tedbench.cli.main()"
    )
    stray = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (stray.returncode, len(stray.stderr.splitlines())) == (1, 1)
    assert "SystemExit" in stray.stderr


def test_debug_shows_where(cli, tmp_path):  # type: ignore[no-untyped-def]
    plain = cli("score", tmp_path, "--metrics", "psnr")
    debug = cli("score", tmp_path, "--metrics", "psnr", "--debug")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert "StoreError" in debug.stderr


def test_from_a_folder_to_a_report(cli, drawn, tmp_path):  # type: ignore[no-untyped-def]
    """The first job, typed as a user types it, in a folder that is not the checkout."""
    arguments = ["--dataset", "folder", "--data", drawn[0], "--method", "mine", "--out", "results/mine"]
    done = cli("import", drawn[1], *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = cli("score", "results/mine", "--metrics", "lpips-alex@64,psnr@64", "--metrics", "ssim@64", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = cli("report", "results/mine", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lpips-alex@64" in done.stdout
    assert {"index.html", "report.md", "table.csv", "table.tex"} <= {
        path.name for path in (tmp_path / "reports" / "mine").iterdir()
    }


@pytest.mark.slow
def test_demo_edits_toy_pictures_with_every_method(cli, tmp_path):  # type: ignore[no-untyped-def]
    # As an earlier demo left it, in seconds: the next one replaces it.
    cli("run", "--dataset", "toy:3", "--method", "identity", "--out", "results/demo", cwd=tmp_path)
    about = tmp_path / "results" / "demo" / "run.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "command": ["tedbench", "demo"]}))
    done = cli("demo", "--pairs", 1, cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path))  # nothing fetched is seen
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "results" / "demo" / "cells.jsonl").read_text().splitlines()]
    methods = {row["method"] for row in rows}
    assert methods == {"identity", "autoencoder", "text-only", "crossfade", "sdedit", "ddib", "imagic"}
    assert Counter(row["method"] for row in rows)["imagic"] == 11
    assert {row["status"] for row in rows} == {"ok"}
    assert "oracle-success" in done.stdout
    assert (tmp_path / "reports" / "demo" / "index.html").is_file()


def test_demo_replaces_nothing_that_it_did_not_make(cli, tmp_path):  # type: ignore[no-untyped-def]
    (tmp_path / "mine").mkdir()
    refused = cli("demo", "--out", "mine", cwd=tmp_path)
    assert refused.returncode == 6
    assert (tmp_path / "mine").is_dir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    early = cli("demo", "--report", "mine", cwd=tmp_path)
    assert early.returncode == 6 and not (tmp_path / "results").exists()  # before the minutes of work, not after
    none = cli("demo", "--pairs", 0, cwd=tmp_path)
    assert none.returncode == 2 and len(none.stderr.splitlines()) == 1


def test_demo_says_what_a_named_folder_lacks(cli, tmp_path):  # type: ignore[no-untyped-def]
    (tmp_path / "tedbench" / "originals").mkdir(parents=True)
    done = cli("demo", cwd=tmp_path, TEDBENCH_DATA=str(tmp_path / "tedbench"))
    assert done.returncode == 3
    assert "imagic/" in done.stderr
    assert "data fetch --results" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_demo_on_the_real_benchmark(cli, real_data, tmp_path):  # type: ignore[no-untyped-def]
    done = cli("demo", "--data", real_data, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "40/100" in done.stdout
    assert "0.52 (2411.16819)" in done.stdout


def test_data_verify_names_every_file(cli, real_data, tmp_path):  # type: ignore[no-untyped-def]
    import shutil

    assert cli("data", "verify", "--data", real_data).stdout == "tedbench: as released\n"
    copy = tmp_path / "tedbench"
    shutil.copytree(real_data, copy, ignore=shutil.ignore_patterns("imagic"))
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (copy / "originals" / "zebra.jpeg").unlink()
    (copy / "originals" / "extra.png").write_bytes(b"x")
    with (copy / "originals" / "bird.png").open("ab") as file:
        file.write(b"x")
    done = cli("data", "verify", "--data", copy)
    assert done.returncode == 3
    for name in ("zebra.jpeg", "extra.png", "bird.png"):
        assert name in done.stdout
    assert len(done.stdout.splitlines()) == 3


def test_hub_without_network_is_one_quick_line(cli, tmp_path: Path):  # type: ignore[no-untyped-def]
    started = time.perf_counter()
    done = cli("import", tmp_path, "--source", "hub", "--method", "m", "--out", tmp_path / "r")
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert time.perf_counter() - started < 30
