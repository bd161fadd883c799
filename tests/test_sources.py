"""The code that a method runs: its own project, however that is laid out, and nothing that is installed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tedbench import sources

METHOD = """
import installed
import several.deep as deep


class Method:
    def edit(self):
        from plain import other
        import single
"""


def test_neighbours_are_its_code_and_an_environment_beside_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = tmp_path / ".venv" / "lib" / "site-packages"
    for name in ("several/__init__.py", "several/deep.py", "plain/other.py", "single.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (environment / "installed").mkdir(parents=True)
    (environment / "installed" / "__init__.py").write_text("")
    (tmp_path / "methods_of_mine.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(environment)
    cls = importlib.import_module("methods_of_mine").Method
    found = set(sources.files(cls)) - set(sources.ALSO)
    assert found == {"methods_of_mine", "several.deep", "plain.other", "single"}
    before = sources.digest(cls)
    (tmp_path / "plain" / "other.py").write_text("# other code")
    assert sources.digest(cls) != before
