"""What a run is asked: ranges of decimals, TOML files, flags; every mistake is one line that names its place."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tedbench import config, contenders, ranges, tomlfile
from tedbench.config import Flags, MethodConfig, RunConfig
from tedbench.errors import TedbenchError, UnknownName, UsageError

DECIMALS = st.decimals(-50, 50, places=3)
STEPS = st.decimals(Decimal("0.05"), 20, places=3)


@given(DECIMALS, DECIMALS, STEPS)
def test_a_range_has_both_ends_and_only_the_decimals_that_were_typed(a: Decimal, b: Decimal, step: Decimal) -> None:
    low, high = sorted((a, b))
    found = ranges.strengths(f"{low}:{high}:{step}")
    count = int((high - low) / step) + 1
    grid = [low + k * step for k in range(count)]
    assert found == tuple(float(value) for value in dict.fromkeys([*grid, high]))
    assert (found[0], found[-1]) == (float(low), float(high))
    assert all(len(repr(value)) <= 8 for value in found)  # 0.3, never 0.30000000000000004


@given(st.text("0123456789.:,-+eEnaif ", max_size=20))
def test_no_text_raises_anything_but_ours(text: str) -> None:
    with contextlib.suppress(UsageError):
        found = ranges.strengths(text)
        assert found
        assert len(set(found)) == len(found)
    with contextlib.suppress(UsageError):
        assert all(seed >= 0 for seed in ranges.seeds(text))


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_shown_strength_is_that_strength_alone(a: float, b: float) -> None:
    assert float(ranges.shown(a)) == a
    assert (ranges.shown(a + 0.0) == ranges.shown(b + 0.0)) == (a == b)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("0:1:0.25", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("0:1:0.4", (0.0, 0.4, 0.8, 1.0)),
        ("1:1:0.1", (1.0,)),
        (" 0.7 , 0:0.2:0.1", (0.7, 0.0, 0.1, 0.2)),
        ([1, 0.5], (1.0, 0.5)),
        (0.5, (0.5,)),
        ("-0", (0.0,)),
    ],
)
def test_strengths(value: object, found: tuple[float, ...]) -> None:
    assert ranges.strengths(value) == found
    assert "-0.0" not in map(ranges.shown, ranges.strengths(value))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "is empty"),
        ([], "is empty"),
        ("1:0:0.1", "falls; write 0:1:0.1"),
        ("0:1:0", "step 0"),
        ("0:1:-0.1", "step -0.1"),
        ("0:1", "low:high:step"),
        ("0:nan:0.1", "not finite"),
        ("inf", "not finite"),
        ([float("nan")], "not finite"),
        ("0.5,0.50", "0.5 is given twice"),
        ("0:1:0.5,1", "1.0 is given twice"),
        ("0,,1", "'' is no number"),
        ("a", "'a' is no number"),
        ([True], "True is no number"),
        ("0:1:0.0000001", "more than 10000 values"),
    ],
)
def test_strengths_that_are_none(value: object, says: str) -> None:
    with pytest.raises(UsageError, match="--strengths") as caught:
        ranges.strengths(value)
    assert says in str(caught.value)


def test_seeds() -> None:
    assert ranges.seeds("0:4:1") == (0, 1, 2, 3, 4)
    assert ranges.seeds("7,0") == (7, 0)
    assert ranges.seeds([3]) == (3,)
    for wrong in ("-1", "0.5", "0:1:0.5", str(2**63)):
        with pytest.raises(UsageError, match="whole numbers from 0"):
            ranges.seeds(wrong)


def toml(folder: Path, text: str) -> Path:
    (folder / "run.toml").write_text(text)
    return folder / "run.toml"


def test_a_file_says_what_flags_say(tmp_path: Path) -> None:
    (tmp_path / "texts.json").touch()
    read = tomlfile.read(
        toml(
            tmp_path,
            """
            dataset = "folder"
            data = "pictures"
            captions = "texts.json"
            limit = 4
            time_limit = 90
            seeds = "0:1:1"
            [[methods]]
            name = "outputs"
            strengths = [0, 0.5]
            folder = "../edits"
            template = "{uid}.png"
            [[methods]]
            name = "identity"
            label = "input"
            """,
        )
    )
    outputs = MethodConfig(
        "outputs", {"folder": str(tmp_path.parent / "edits"), "template": "{uid}.png"}, strengths=(0.0, 0.5)
    )
    assert read == RunConfig(
        methods=(outputs, MethodConfig("identity", label="input")),
        dataset="folder",
        data=tmp_path / "pictures",
        captions=str(tmp_path / "texts.json"),
        limit=4,
        time_limit=90.0,
        seeds=(0, 1),
    )
    flags = Flags(
        dataset="folder", data=tmp_path / "pictures", captions=str(tmp_path / "texts.json"), limit=4, seeds="0,1",
        methods=["outputs"], strengths=["0,0.5"], time_limit=90.0,
        fields=[f"folder={tmp_path.parent / 'edits'}", "outputs.template={uid}.png"],
    )  # fmt: skip
    typed = config.override(RunConfig(()), flags)
    assert typed == RunConfig(
        (outputs,), read.dataset, read.data, read.captions, limit=4, seeds=(0, 1), time_limit=90.0
    )
    with pytest.raises(UsageError, match="--time-limit inf: write seconds, or 0 for no limit"):
        config.override(RunConfig((outputs,)), Flags(time_limit=float("inf")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "methods: is missing"),
        ("seeds = [0", "not valid TOML"),
        ('datset = "folder"\n[[methods]]\nname = "identity"', "line 1, datset: no such key. Did you mean 'dataset'?"),
        ('\nlimit = "four"\n[[methods]]\nname = "identity"', "line 2, limit: Input should be a valid integer"),
        (
            "time_limit = -1\n[[methods]]\nname = 'identity'",
            "line 1, time_limit: Input should be greater than or equal to 0",
        ),
        ("time_limit = nan\n[[methods]]\nname = 'identity'", "line 1, time_limit: Input should be a finite number"),
        ("limit = 0\n[[methods]]\nname = 'identity'", "greater than or equal to 1"),
        ('seeds = [0, 0]\n[[methods]]\nname = "identity"', "line 1, seeds: 0 is given twice"),
        ('seeds = [0.5]\n[[methods]]\nname = "identity"', "line 1, seeds"),
        ('[[methods]]\nname = "a"\n[[methods]]\nlabel = "b"', "methods 2 name: is missing"),
        (
            '[[methods]]\nname = "a"\n[[methods]]\nname = "b"\nstrengths = "1:0:1"',
            "line 5, methods 2 strengths: '1:0:1'",
        ),
        ('[[methods]]\nname = "a"\nstrengths = {low = 0}', "line 3, methods 1 strengths"),
        ('[[methods]]\nname = "a"\nlabel = "../a"', "line 3, methods 1 label '../a'"),
        ("methods = []", "methods"),
        ('[[methods]]\nname = "sdedt"', "line 2, methods 1 name: no method named 'sdedt'. Did you mean 'sdedit'?"),
        ('[[methods]]\nname = "sdedit"\n\nsteps = "many"', "line 4, methods 1 steps: 'sdedit': steps='many'"),
        ('[[methods]]\nname = "sdedit"\npreset = "tay"', "line 3, methods 1 preset: no preset of method 'sdedit'"),
        ('[[methods]]\nname = "identity"\n[other]\na = 1', "other: no such key"),
        ('metrics = ["lpips-alx"]\n[[methods]]\nname = "identity"', "line 1, metrics: no metric named 'lpips-alx'"),
        ('metrics = "psnr"\n[[methods]]\nname = "identity"', "line 1, metrics: Input should be a valid list"),
        ('\nmethods = [{name = "sdedt"}]', "line 2, methods 1 name: no method named 'sdedt'"),
        (
            'methods = [\n  {name = "identity"},\n  # second\n  {name = "sdedit", steps = "many"},\n]',
            "line 4, methods 2 steps: 'sdedit': steps='many'",
        ),
        ('\ndataset.name = "x"\n[[methods]]\nname = "identity"', "line 2, dataset: Input should be a valid string"),
        ('captions = """\nseeds = 3\n"""\nseeds = "a"\n[[methods]]\nname = "identity"', "line 4, seeds"),
        ('[[methods]]\r\nname = "sdedit"\r\n[methods.steps]\r\nx = 1', "line 3, methods 1 steps"),
        ('[[ "methods" ]]\nname = "identity"\n"strengths" = "1:0:1"', "line 3, methods 1 strengths"),
        ('\ndataset = "foldr"\n[[methods]]\nname = "identity"', "line 2, dataset: no data set named 'foldr'. Did you"),
        ('source = "hubb"\n[[methods]]\nname = "identity"', "line 1, source: no data source named 'hubb'"),
        ('metrics = ["psnr@abc"]\n[[methods]]\nname = "identity"', "line 1, metrics: 'psnr@abc': size='abc'"),
        ('devices = ["cuda:0", "gpu"]\n[[methods]]\nname = "identity"', "line 1, devices: no device 'gpu'"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        tomlfile.read(toml(tmp_path, text))
    assert says in str(caught.value)
    assert str(tmp_path / "run.toml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = 'limit = "four"\ndatset = "folder"\n[[methods]]\nlabel = 3\n[[methods]]\nname = "b"\nstrengths = {low = 0}\n'
    with pytest.raises(UsageError) as caught:
        tomlfile.read(toml(tmp_path, text))
    said = str(caught.value)
    for place in (
        "line 1, limit",
        "line 2, datset",
        "line 4, methods 1 label",
        "methods 1 name",
        "line 7, methods 2 strengths",
    ):
        assert place in said, said
    assert "\n" not in said
    text = 'seeds = [1, 1]\n[[methods]]\nname = "a"\nlabel = "../a"\n[[methods]]\nname = "b"\nstrengths = "1:0:1"\n'
    with pytest.raises(UsageError) as caught:
        tomlfile.read(toml(tmp_path, text))
    for place in ("line 1, seeds", "line 4, methods 1 label", "line 7, methods 2 strengths"):
        assert place in str(caught.value)


def test_a_field_that_is_none_is_told_with_its_file_and_table(tmp_path: Path) -> None:
    path = toml(tmp_path, '[[methods]]\nname = "identity"\n[[methods]]\nname = "outputs"\nfoldr = "x"\n')
    with pytest.raises(UsageError, match="Did you mean 'folder'") as caught:
        tomlfile.read(path)
    assert str(caught.value).startswith(f"{path}, line 5, methods 2 foldr: no field of method 'outputs' named 'foldr'")


def test_what_only_the_class_can_refuse_is_told_with_its_table(tmp_path: Path) -> None:
    for line in ("steps = 0", "strengths = [0, 2]"):
        path = toml(tmp_path, f'limit = 1\n[[methods]]\nname = "sdedit"\nmodel = "tiny-sd1"\n{line}\n')
        with pytest.raises(UsageError) as caught:
            contenders.build(tomlfile.read(path).methods)
        assert str(caught.value).startswith(f"{path}, line 2, methods 1: ")


@given(st.text('[]=".#\nmethodsnalib0,' + "'", max_size=60))
def test_no_file_raises_anything_but_ours(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    with contextlib.suppress(TedbenchError):
        tomlfile.read(toml(tmp_path_factory.getbasetemp(), text))


def test_flags_overrule_a_file() -> None:
    base = RunConfig((MethodConfig("outputs", {"folder": "a"}, "x"),), "folder", Path("d"), seeds=(1,))
    assert config.override(base, Flags()) == base
    assert config.override(base, Flags(fields=["folder=b"])).methods[0].options == {"folder": "b"}
    assert config.override(base, Flags(fields=["x.folder=b"])).methods[0].options == {"folder": "b"}
    assert config.override(base, Flags(strengths=["x=0,1"])).methods[0].strengths == (0.0, 1.0)
    assert config.override(base, Flags(methods=["identity"])).methods == (MethodConfig("identity"),)
    # Another data set does not lie in the folder of the first.
    assert config.override(base, Flags(dataset="tedbench")).data is None
    with pytest.raises(UnknownName, match="Did you mean 'outputs'"):
        config.override(base, Flags(strengths=["output=0,1"]))


@pytest.mark.parametrize(
    ("methods", "labels"),
    [
        ([MethodConfig("imagic"), MethodConfig("a.b:Mine")], ["imagic", "Mine"]),
        ([MethodConfig("imagic"), MethodConfig("imagic@paper-sd")], ["imagic", "imagic-paper-sd"]),
        ([MethodConfig("x", {"model": "a/b c"}), MethodConfig("x", label="y")], ["x", "y"]),
        ([MethodConfig("x", {"model": "a/b c"}), MethodConfig("X")], ["x-model-a-b-c", "X"]),
        ([MethodConfig("x"), MethodConfig("x")], ["x", "x-2"]),
        ([MethodConfig("x"), MethodConfig("y", label="x")], ["x-2", "x"]),
        ([MethodConfig("x", {"model": "m" * 200}), MethodConfig("x", {"model": "m" * 201})], None),
    ],
)
def test_labels_tell_methods_apart(methods: list[MethodConfig], labels: list[str] | None) -> None:
    found = contenders.label(methods)
    assert labels is None or found == labels
    assert len({label.casefold() for label in found}) == len(methods)
    assert max(map(len, found)) <= 80


def test_labels_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="two methods are labelled 'a'"):
        contenders.label([MethodConfig("x", label="A"), MethodConfig("y", label="a")])
    with pytest.raises(UsageError, match="names a folder"):
        contenders.label([MethodConfig("x", label="a/b")])
