"""The house stays as it was drawn: arrows, rooms, style, and what must never enter a commit."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ROOMS = ("tedbench", "methods/tedbench_methods", "metrics/tedbench_metrics")
HIDDEN = {".ci", ".gitattributes", ".github", ".gitignore", ".pre-commit-config.yaml"}
PAPERS = {"CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "README.md"}
TOOLS = {"Makefile", "constraints.txt", "pyproject.toml"}
FOLDERS = {"docs", "methods", "metrics", "reports", "results", "tedbench", "tests"}
LONGEST = 320  # lines; a room that needs more wants a wall
# Written in pieces, so that this file does not find itself.
PATHS = re.compile("(?<![\\w.])/(?:" + "|".join(["wor" + "k", "hom" + "e", "roo" + "t", "User" + "s"]) + ")/")
HOSTS = re.compile(
    "|".join(["python" + "hosted", "art" + "ifactory", "dev" + "pi", r"py" + r"pi\.", "index" + "-url"]), re.I
)


@functools.cache
def tracked() -> tuple[Path, ...]:
    """What is committed, or would be by `git add --all`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode:
        pytest.skip("not a git checkout")
    names = {name for name in done.stdout.decode().split("\0") if name}
    return tuple(path for name in sorted(names) if (path := ROOT / name).is_file())


def sources() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def text_of(path: Path) -> str:
    """The file as text; empty for a binary."""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode("utf-8", errors="replace")


def _run(*command: str) -> None:
    if not (BIN / command[0]).exists():
        pytest.skip(f"{command[0]} is not installed; it is part of the dev extra")
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_the_arrows_hold() -> None:
    _run("lint-imports", "--no-cache")


def test_the_style_holds() -> None:
    _run("ruff", "check", ".")
    _run("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_the_types_hold() -> None:
    _run("mypy")


def test_the_top_level_holds_conventional_names_only() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= HIDDEN | PAPERS | TOOLS | FOLDERS


def test_the_import_packages_are_three_and_typed() -> None:
    assert [room for room in ROOMS if not (ROOT / room / "py.typed").exists()] == []
    assert [room for room in ROOMS if not (ROOT / room / "__init__.py").exists()] == []


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_the_library_prints_nothing() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources()
        if path.name != "cli.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    undocumented = [path.name for path in sources() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert undocumented == []


def test_no_released_image_is_committed() -> None:
    manifest = ROOT / "tedbench" / "datasets" / "tedbench.json"
    if not manifest.exists():
        pytest.skip("no list of the released images")
    released = set(re.findall(r"\b[0-9a-f]{64}\b", manifest.read_text(encoding="utf-8")))
    assert len(released) >= 39
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in tracked()}
    assert [str(path.relative_to(ROOT)) for path, digest in digests.items() if digest in released] == []


@pytest.mark.parametrize("pattern", [PATHS, HOSTS], ids=["paths of a machine", "hosts of a package index"])
def test_no_file_names_somebodys_machine(pattern: re.Pattern[str]) -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in tracked()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if pattern.search(line)
    ]
    assert hits == []


def test_the_patterns_find_what_they_look_for() -> None:
    assert PATHS.search("cd /" + "home/someone")
    assert PATHS.search('"/' + 'work/main"')
    assert not PATHS.search("see https://example.org/" + "home/page")
    assert HOSTS.search("https://files.python" + "hosted.org")
    assert not HOSTS.search("on PyPI, under another name")
