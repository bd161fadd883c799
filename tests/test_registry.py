"""A name, or module:Class, becomes an object; what is wrong with it is said in one line."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tedbench import registry
from tedbench.errors import PluginError, UnknownName, UsageError
from tedbench_methods.identity import Identity

HERE = __name__
NAMES = st.text("abcdefghijklmnopqrstuvwxyz-_.:0123456789", min_size=1)
VALUES = st.text(st.characters(exclude_characters="&", exclude_categories=["Cs"]))


@dataclass(frozen=True)
class Toy:
    at: ClassVar[str] = "size"
    size: int = 256
    scale: float = 1.0
    clip: bool = True
    rule: Literal["crop", "squash"] = "crop"
    name: str | None = None


@dataclass(frozen=True)
class Recipe:
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"steps": 1000, "rate": 2e-3}, "odd": {"stpes": 1}}
    steps: int = 10
    rate: float = 1.0
    model: str = ""
    sizes: tuple[int, ...] = (1,)
    extra: Mapping[str, float] = field(default_factory=dict)
    where: Path | None = None


class Plain:
    size = 256


@dataclass(frozen=True)
class Fussy:
    size: int = 256

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ZeroDivisionError("sizes count from zero")
        if self.size == 7:
            raise UsageError("seven is refused")


@dataclass(frozen=True)
class Unreadable:
    what: Nowhere = None  # type: ignore[name-defined]  # noqa: F821


NOT_A_CLASS = 3


@given(NAMES, st.none() | NAMES, st.dictionaries(NAMES, VALUES))
def test_a_spec_parses_to_what_it_was_made_of(name: str, value: str | None, options: dict[str, str]) -> None:
    query = "&".join(f"{key}={text.replace('%', '%25')}" for key, text in options.items())
    spec = name + (f"@{value}" if value else "") + (f"?{query}" if query else "")
    assert registry.parse(spec) == (name, value, options)


@pytest.mark.parametrize("spec", ["", "@256", "lpips@", "?size=3", "lpips?size", "lpips?size=1&", "lpips?a=1&a=2"])
def test_a_spec_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        registry.parse(spec)


def test_fields_are_typed_by_their_annotations() -> None:
    toy = registry.make("metric", f"{HERE}:Toy@64?scale=0.5&clip=false&rule=squash&name=a=b?c@d")
    assert toy == Toy(64, 0.5, False, "squash", "a=b?c@d")
    assert type(toy.size) is int
    assert type(toy.clip) is bool


def test_overrides_fill_in_but_never_overrule_a_spec() -> None:
    made = registry.make("metric", f"{HERE}:Toy@64", size=512, rule="squash", unknown=1)
    assert made == Toy(size=64, rule="squash")


def test_a_preset_is_overruled_by_overrides_and_these_by_what_was_typed() -> None:
    recipe = f"{HERE}:Recipe"
    assert registry.make("method", f"{recipe}@paper") == Recipe(1000, 2e-3)
    assert registry.make("method", f"{recipe}?preset=paper") == Recipe(1000, 2e-3)
    assert registry.build("method", recipe, {"preset": "paper", "steps": 3}) == Recipe(3, 2e-3)
    assert registry.make("method", f"{recipe}@paper?rate=5", steps=7, rate=6.0, model="m") == Recipe(7, 5.0, "m")


@pytest.mark.parametrize("options", [{"sizes": [2, 3], "extra": {"a": 1}}, {"sizes": "[2, 3]", "extra": '{"a": 1}'}])
def test_fields_that_hold_many_are_typed_from_values_and_from_json(options: dict[str, Any]) -> None:
    made = registry.build("method", f"{HERE}:Recipe", {**options, "where": "a/b", "steps": "4"})
    assert made == Recipe(steps=4, sizes=(2, 3), extra={"a": 1.0}, where=Path("a/b"))


@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.lists(st.integers()))
def test_field_values_build_the_same_again(steps: int, rate: float, model: str, sizes: list[int]) -> None:
    made = Recipe(steps, rate, model, tuple(sizes), {"a": rate}, Path("x"))
    kept = json.loads(json.dumps(registry.field_values(made)))
    assert registry.build("method", f"{HERE}:Recipe", kept) == made


@pytest.mark.parametrize(
    ("spec", "options", "error", "says"),
    [
        ("Recipe@papre", {}, UnknownName, "no preset of method"),
        ("Recipe@papre", {}, UnknownName, "Did you mean 'paper'?"),
        ("Recipe@odd", {}, PluginError, "preset 'odd' sets 'stpes', which is no field"),
        ("Recipe@paper?preset=odd", {}, UsageError, "sets preset twice"),
        ("Recipe?steps=3", {"steps": 4}, UsageError, "sets steps twice"),
        ("Recipe", {"steps": 1.5}, UsageError, "steps=1.5: Input should be a valid integer"),
        ("Recipe", {"model": 3}, UsageError, "model=3: Input should be a valid string"),
        ("Recipe", {"sizes": "2, 3"}, UsageError, "write it as JSON"),
        ("Recipe", {"sizes": "[2, x]"}, UsageError, "Invalid JSON"),
        ("Recipe", {"sizs": [1]}, UnknownName, "Did you mean 'sizes'?"),
    ],
)
def test_options_that_do_not_fit_are_named(
    spec: str, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as caught:
        registry.build("method", f"{HERE}:{spec}", options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("Toy?siez=3", UnknownName, "Did you mean 'size'?"),
        ("Toy?at=scale", UnknownName, "no field of metric"),
        ("Toy@big", UsageError, "size='big': Input should be a valid integer"),
        ("Toy?rule=stretch", UsageError, "'crop' or 'squash'"),
        ("Toy@64?size=128", UsageError, "sets size twice"),
        ("Fussy@3", UsageError, "takes no @value; its fields: size"),
        ("Fussy?size=7", UsageError, "seven is refused"),
        ("Fussy?size=-1", PluginError, "cannot be built: ZeroDivisionError: sizes count from zero"),
        ("Plain", PluginError, "Plain is not a dataclass"),
        ("NOT_A_CLASS", PluginError, "is not a class"),
        ("Absent", PluginError, "does not import: AttributeError"),
        ("Unreadable?what=3", PluginError, "field what cannot be set from text"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(spec: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        registry.make("metric", f"{HERE}:{spec}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(PluginError, match=r"'no_such_module:Thing' does not import: ModuleNotFoundError"):
        registry.make("metric", "no_such_module:Thing")


def test_a_misspelt_name_meets_its_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'lpips-alex'"):
        registry.make("metric", "lpip-alex")


def test_a_method_is_no_metric() -> None:
    with pytest.raises(UnknownName):
        registry.make("metric", "identity")


def test_built_ins_come_in_through_entry_points() -> None:
    assert registry.make("method", "identity") == Identity()
    metrics = registry.plugins("metric")
    assert [plugin.name for plugin in metrics] == sorted(plugin.name for plugin in metrics)
    assert {"lpips-alex", "clip-text", "psnr", "ssim"} <= {plugin.name for plugin in metrics}
    assert {plugin.package for plugin in metrics if plugin.target.startswith("tedbench_metrics")} == {
        "tedbench-editing"
    }


def _distribution(folder: Path, package: str, entries: str) -> importlib.metadata.Distribution:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tedbench.metrics]\n{entries}\n")
    return importlib.metadata.Distribution.at(info)


@pytest.fixture
def uncached() -> Iterator[None]:
    registry.plugins.cache_clear()
    registry._installed.cache_clear()
    yield
    registry.plugins.cache_clear()
    registry._installed.cache_clear()


@pytest.mark.usefixtures("uncached")
def test_two_packages_with_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    both = [_distribution(tmp_path / p, p, f"same = {p}:Metric") for p in ("first", "second")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: both)
    with pytest.raises(PluginError, match=r"'same': first:Metric of first and second:Metric of second"):
        registry.plugins("metric")


@pytest.mark.usefixtures("uncached")
def test_an_older_copy_further_down_the_path_is_not_a_rival(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copies = [_distribution(tmp_path / v, "same", f"metric = same:{v}") for v in ("New", "Old")]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: copies)
    assert [plugin.target for plugin in registry.plugins("metric")] == ["same:New"]


def test_listing_loads_nothing_heavy() -> None:
    heavy = "torch torchvision pandas diffusers transformers open_clip lpips datasets matplotlib scipy"
    code = (
        "import sys; from tedbench import registry; assert registry.plugins('metric') and registry.plugins('method'); "
        f"sys.exit(', '.join(sorted(set('{heavy}'.split()) & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
