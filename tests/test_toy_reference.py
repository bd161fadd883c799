"""The committed reference run of the toy world is of the settings that the tuning chose, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tedbench import registry, tomlfile

ROOT = Path(__file__).parents[1]
TUNING = ROOT / "results/benchmarks/toy_tuning.json"


@pytest.mark.skipif(not TUNING.exists(), reason="no tuning is recorded in results/ yet")
def test_the_reference_runs_what_the_tuning_chose() -> None:
    asked = {one.label or one.spec: one for one in tomlfile.read(ROOT / "tests/benchmarks/toy_reference.toml").methods}
    chosen = {name: each["chosen"] for name, each in json.loads(TUNING.read_text()).items() if isinstance(each, dict)}
    assert set(chosen) <= set(asked)
    for name, spec in chosen.items():
        assert registry.make("method", asked[name].spec, **asked[name].options) == registry.make("method", spec), name
