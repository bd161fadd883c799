"""The wheel holds everything: built, installed into a fresh environment and used from a folder that is no checkout."""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
WHERE = "import tedbench as a, tedbench_metrics as b, tedbench_methods as c; print(a.__file__, b.__file__, c.__file__)"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_runs_from_elsewhere(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tracked = run("git", "ls-files", "-z", cwd=ROOT).split("\0")[:-1]
    for name in tracked:  # a clean copy: nothing that lies about in the checkout can slip in
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", tmp_path, cwd=source)
    wheel = next(tmp_path.glob("tedbench_editing-*.whl"))
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    packages = next(home.glob("lib/python*/site-packages"))
    # A plain path line: the libraries of this environment are seen, its editable install of tedbench is not.
    (packages / "outer.pth").write_text("\n".join(site.getsitepackages()))
    run(*pip, f"--python={home / 'bin' / 'python'}", "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in run(home / "bin" / "python", "-c", WHERE, cwd=elsewhere).split():
        assert Path(path).is_relative_to(home)
    assert "lpips-alex" in run(home / "bin" / "tedbench", "list", cwd=elsewhere)
    assert "results/demo/" in run(home / "bin" / "tedbench", "demo", "--pairs", "1", cwd=elsewhere).replace("\n", "/")
    assert (elsewhere / "reports" / "demo" / "index.html").is_file()
    run(
        home / "bin" / "python",
        "-c",
        "from tedbench.report import published; assert len(published.load()) > 100",
        cwd=elsewhere,
    )
