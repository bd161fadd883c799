"""The third-party road: a package that is really installed, and the examples of the READMEs."""

from __future__ import annotations

import json
import re
import shutil
import site
import subprocess
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tedbench import images, registry
from tedbench.cli import app
from tedbench.types import EditPair, ImageFile, Method, Metric

ROOT = Path(__file__).parents[1]
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "{name}"
version = "1.0"
[project.entry-points."tedbench.metrics"]
{entries}
[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""
REPORT = """
import json, sys
from tedbench import registry
from tedbench.errors import TedbenchError
from PIL import Image
out = {}
try:
    out["plugins"] = {p.name: [p.package, p.version] for k in registry.KINDS for p in registry.plugins(k)}
    metric = registry.make("metric", "example-brightness@32?rule=squash")
    out["identity"] = metric.identity
    out["scores"] = list(metric.score([None] * 2, [Image.new("RGB", (40, 50), c) for c in ("white", "black")]))
    registry.make("method", "example-negative")
    registry.make("metric", "example-broken")
except TedbenchError as error:
    out["error"] = [type(error).__name__, str(error)]
out["torch"] = "torch" in sys.modules
print(json.dumps(out))
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A fresh environment that sees this one's packages and installs into itself."""
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    folder = next(home.glob("lib/python*/site-packages"))
    sites = [path for path in site.getsitepackages() if Path(path).is_dir()]
    # addsitedir, since the .pth of an editable install counts only in a site folder.
    (folder / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in sites))
    return home / "bin" / "python"


def _install(python: Path, package: Path) -> None:
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    command = [*pip, "--disable-pip-version-check", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=package.parent)
    assert done.returncode == 0, done.stderr


def _report(python: Path) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-c", REPORT], capture_output=True, text=True, check=False, cwd=python.parent.parent
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _check(python: Path, spec: str) -> str:
    """`tedbench check` in that environment."""
    command = [str(python), "-c", "from tedbench.cli import main; main()", "check", spec]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=python.parent.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _write(folder: Path, name: str, entries: str, source: str) -> Path:
    module = name.replace("-", "_")
    (folder / name / module).mkdir(parents=True)
    (folder / name / "pyproject.toml").write_text(PROJECT.format(name=name, entries=entries, module=module))
    (folder / name / module / "__init__.py").write_text(source)
    return folder / name


@pytest.mark.slow
def test_a_strangers_package_is_found_clashes_are_named_and_so_is_what_does_not_import(
    python: Path, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "tests" / "plugin", tmp_path / "plugin")
    _install(python, tmp_path / "plugin")
    alone = _report(python)
    assert alone["plugins"]["example-brightness"] == ["tedbench-example-plugin", "0.0.1"]
    assert alone["plugins"]["example-negative"] == ["tedbench-example-plugin", "0.0.1"]
    assert alone["plugins"]["lpips-alex"][0] == "tedbench-editing"
    assert alone["identity"] == "example-brightness-1/32-squash-pillow-bicubic"
    assert alone["scores"] == [1.0, 0.0]
    assert alone["error"][0] == "UnknownName"  # example-broken is not installed yet
    assert not alone["torch"]
    assert "example-negative: 14 promises kept, 0 broken" in _check(python, "example-negative")

    entries = 'example-broken = "broken_plugin:Thing"'
    _install(python, _write(tmp_path, "broken-plugin", entries, 'raise RuntimeError("no driver found")\n'))
    kind, text = _report(python)["error"]
    assert kind == "PluginError"
    assert text == "metric 'example-broken' of broken-plugin does not import: RuntimeError: no driver found"

    entries = 'example-brightness = "rival_plugin:Thing"'
    _install(python, _write(tmp_path, "rival-plugin", entries, ""))
    kind, text = _report(python)["error"]
    assert kind == "PluginError"
    assert "tedbench-example-plugin" in text
    assert "rival-plugin" in text


def _picture(folder: Path) -> EditPair:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    data = images.encode_png(Image.fromarray(pixels))
    (folder / "drawn.png").write_bytes(data)
    drawn = ImageFile("drawn.png", images.sha256(data), path=folder / "drawn.png")
    return EditPair("drawn-0", drawn, "A drawn cat.", image_id="drawn", source_text="A drawing.")


def _example(readme: Path, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return registry.make(kind, _example_spec(readme, kind, folder, monkeypatch))


def _example_spec(readme: Path, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int = 0) -> str:
    if not readme.exists():
        pytest.skip(f"no {readme.name} in {readme.parent.name} yet")
    blocks = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    source = [block for block in blocks if "@dataclass" in block][number]
    (folder / f"readme_{kind}_{number}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    match = re.search(r"@dataclass.*\nclass (\w+)", source)
    assert match
    return f"readme_{kind}_{number}:{match[1]}"


def test_the_method_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = _example(ROOT / "methods" / "README.md", "method", tmp_path, monkeypatch)
    pair = _picture(tmp_path)
    x = images.read(pair.image)
    before = x.tobytes()
    assert isinstance(method, Method)
    grid = method.strength.grid
    state = method.fit(pair, seed=1)
    sweep = [edit.tobytes() for edit in method.edit(pair, state, grid, seed=1)]
    assert len(set(sweep)) == len(grid)
    assert sweep[0] == before  # strength 0 gives the input back
    assert sweep == [method.edit(pair, state, [a], seed=1)[0].tobytes() for a in grid]
    assert sweep[-1] != method.edit(pair, state, grid, seed=2)[-1].tobytes()
    assert x.tobytes() == before
    assert registry.make("method", "readme_method_0:Grain@20").sigma == 20


@pytest.mark.parametrize(("number", "options"), [(0, ""), (1, "?steps=4")])
def test_the_methods_in_the_readme_keep_the_contract(
    number: int, options: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _example_spec(ROOT / "methods" / "README.md", "method", tmp_path, monkeypatch, number)
    done = CliRunner().invoke(app, ["check", spec + options])
    assert done.exit_code == 0, done.output
    assert "0 broken" in done.output


def test_the_metric_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = _example(ROOT / "metrics" / "README.md", "metric", tmp_path, monkeypatch)
    pair = _picture(tmp_path)
    assert isinstance(metric, Metric)
    x = images.read(pair.image)
    values = [float(value) for value in metric.score([pair, pair], [x, Image.new("RGB", (80, 50), "red")])]
    assert len(values) == 2
    assert all(metric.range[0] <= value <= metric.range[1] for value in values)
    assert metric.identity


def test_identity_returns_copies_of_the_input(tmp_path: Path) -> None:
    method, pair = registry.make("method", "identity"), _picture(tmp_path)
    first, second = method.edit(pair, method.fit(pair, 0), [0.0, 0.0], 0)
    assert first.tobytes() == second.tobytes() == images.read(pair.image).tobytes()
    first.paste("red", (0, 0, 8, 8))
    assert second.tobytes() == images.read(pair.image).tobytes() != first.tobytes()
