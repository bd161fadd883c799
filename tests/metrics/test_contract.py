"""What every metric owes its callers, whichever it is."""

from __future__ import annotations

import copy
import dataclasses
import math
import random
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tedbench import images, registry
from tedbench.errors import MetricError, MetricNote, UsageError
from tedbench.types import Metric
from tedbench_metrics import models
from tedbench_metrics.clip import ClipDirectional, ClipImage, ClipText
from tedbench_metrics.dino import DinoImage, StructureDistance
from tedbench_metrics.fid import Fid
from tedbench_metrics.judge import JudgeEdit, JudgeKept
from tedbench_metrics.lpips import LpipsAlex, LpipsSqueeze, LpipsVgg
from tedbench_metrics.oracle import OracleBoth, OraclePreservation, OracleRefused, OracleSuccess
from tedbench_metrics.pixels import Psnr, Ssim

ROOT = Path(__file__).parents[2]
NEEDS_DOWNLOAD = {LpipsVgg, LpipsSqueeze}
JUDGE_TOYS = {OracleSuccess, OraclePreservation, OracleBoth, OracleRefused}
"""They refuse the pictures of this file; test_oracle.py holds them to the same."""
ASK_A_SERVER = {JudgeEdit, JudgeKept}
"""test_judge.py holds them to the same, before a stand-in server."""
BUILT = ["lpips", "lpips-outside", "psnr", "psnr-outside", "ssim", "ssim-outside", "text", "image", "directional",
         "dino", "structure"]  # fmt: skip


@pytest.fixture(params=BUILT)
def metric(request, clip_folder, vit_folder):
    region = "outside" if request.param.endswith("-outside") else "all"
    clip, vit = {"model": str(clip_folder)}, {"model": str(vit_folder)}
    return {
        "lpips": lambda: LpipsAlex(size=64, region=region, batch=3),
        "psnr": lambda: Psnr(size=64, region=region),
        "ssim": lambda: Ssim(size=64, region=region),
        "text": lambda: ClipText(**clip, batch=3),
        "image": lambda: ClipImage(**clip, batch=3),
        "directional": lambda: ClipDirectional(**clip, batch=3),
        "dino": lambda: DinoImage(**vit, batch=3),
        "structure": lambda: StructureDistance(**vit, size=32, batch=3),
    }[request.param.removesuffix("-outside")]()


@pytest.fixture
def case(drawn, pair_of, half_mask):
    sources, edits = [1, 3, 1, 5, 1, 1], [2, 4, 6, 8, 10, 2]
    texts = ["a red cat", "a green bird", "a dog", "a photo of a tree", "a red cat", "a house"]
    pairs = [pair_of(drawn(s), half_mask, target_text=t) for s, t in zip(sources, texts, strict=True)]
    return pairs, [drawn(e, (96 + 2 * e, 96 + 2 * e)) for e in edits]


def test_batches_equal_singles_in_any_order(metric, case):
    pairs, edits = case
    whole = metric.score(pairs, edits)
    assert all(type(value) is float for value in whole)
    # A CPU may sum a batch in another order than a single one. A direction is a difference of unit vectors, here of
    # length 0.03 to 0.16: the untrained model hardly tells pictures apart. Its rounding is that many times as large.
    near = 2e-5 if isinstance(metric, ClipDirectional) else 1e-6
    assert [metric.score([p], [e])[0] for p, e in zip(*case, strict=True)] == pytest.approx(whole, abs=near)
    assert list(metric.score(pairs[::-1], edits[::-1]))[::-1] == pytest.approx(whole, abs=near)
    low, high = metric.range
    assert all(low - 1e-6 <= value <= high + 1e-6 for value in whole) and len(set(whole)) > 3
    assert metric.score([], []) == []


def test_nothing_else_is_touched(metric, case):
    pairs, edits = case
    before = copy.deepcopy(pairs), [e.tobytes() for e in edits], repr(metric)
    states = torch.get_rng_state(), np.random.get_state()[1].tobytes(), random.getstate()
    threads, grad, precision = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_float32_matmul_precision()
    metric.score(pairs, edits)
    assert (pairs, [e.tobytes() for e in edits], repr(metric)) == before
    assert torch.equal(states[0], torch.get_rng_state())
    assert (np.random.get_state()[1].tobytes(), random.getstate()) == states[1:]
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)
    assert torch.get_float32_matmul_precision() == precision


def test_building_a_model_moves_no_generator(clip_folder, vit_folder):
    from tedbench_metrics import clip, dino, lpips

    state = torch.get_rng_state()
    lpips.load.__wrapped__("alex", None, "", "cpu")
    clip.load.__wrapped__(clip.resolve(str(clip_folder)), "cpu")
    dino.load.__wrapped__(models.resolve(str(vit_folder), dino.WEIGHTS), "cpu")
    assert torch.equal(state, torch.get_rng_state())


def test_facts(metric):
    assert isinstance(metric, Metric)
    assert metric.identity and not set(metric.identity) & set(" ,\n\t")
    assert metric.facts["family"] and all(isinstance(v, (str, int, float)) for v in metric.facts.values())
    assert metric.needs <= {"source_text", "mask", "truth"}
    assert getattr(metric, metric.at) is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        metric.batch = 3


def test_device_and_batch_are_no_part_of_the_identity(metric):
    fields = {f.name for f in dataclasses.fields(metric)}
    for name, value in {"device": "cpu", "batch": 1}.items():
        if name in fields:
            assert dataclasses.replace(metric, **{name: value}).identity == metric.identity


def test_as_many_images_as_pairs(metric, case):
    with pytest.raises(MetricError, match="6 pairs but 5 images"):
        metric.score(case[0], case[1][:-1])


def test_a_source_is_read_once_a_call(monkeypatch, metric, case, drawn, pair_of):
    pairs, edits = case
    other = Image.new("L", (96, 96), 0)
    pairs[-1] = pair_of(drawn(1), other, target_text="a house")  # the same picture under another mask
    seen, read = [], images.read.__wrapped__
    monkeypatch.setattr(images, "read", lambda file: seen.append(file.sha256) or read(file))
    metric.score(pairs, edits)
    if "mask" not in metric.needs:  # there every edit is filled from the source, and the cache of images.read serves
        assert len(seen) == len(set(seen)) <= 3


def test_each_pair_is_scored_by_its_own_mask(drawn, pair_of, half_mask):
    edit, none = drawn(2), Image.new("L", (96, 96), 0)
    two = [pair_of(drawn(1), half_mask), pair_of(drawn(1), none)]
    for cls in (LpipsAlex, Psnr, Ssim):
        metric = cls(size=64, region="outside")
        values = metric.score(two, [edit] * 2)
        assert values == pytest.approx([metric.score([p], [edit])[0] for p in two], abs=1e-6)
        assert values[0] != values[1]


def test_a_mask_over_everything_costs_only_its_own_pair(drawn, pair_of, half_mask):
    whole, edits = Image.new("L", (96, 96), 255), [drawn(n) for n in (2, 4, 6, 8)]
    pairs = [pair_of(drawn(1), half_mask, uid="a"), pair_of(drawn(1), whole, uid="b"),
             pair_of(drawn(1), whole, uid="c"), pair_of(drawn(1), half_mask, uid="d")]  # fmt: skip
    for cls in (LpipsAlex, Psnr, Ssim):
        metric = cls(size=64, region="outside")
        with pytest.warns(MetricNote) as caught:
            values = metric.score(pairs, edits)
        notes = [f"pair {uid!r}: the mask covers the whole picture at 64²; not scored" for uid in "bc"]
        assert [str(w.message) for w in caught] == notes
        assert [math.isnan(v) for v in values] == [False, True, True, False]
        assert values[::3] == pytest.approx(metric.score(pairs[::3], edits[::3]), abs=1e-6)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "CPU", "", "meta", "cpu\n"])
def test_what_is_no_device_is_refused_at_once(metric, device):
    if "device" in {f.name for f in dataclasses.fields(metric)}:
        with pytest.raises(UsageError, match=r"no device .* known: auto, cpu, cuda, cuda:N, mps$"):
            dataclasses.replace(metric, device=device)


def test_a_device_that_is_not_here_is_refused(monkeypatch, drawn, pair_of):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "cuda:0", "mps"):
        metric = LpipsAlex(size=64, device=device)
        for use in (lambda m=metric: m.facts, lambda m=metric: m.score([pair_of(drawn(1))], [drawn(2)])):
            with pytest.raises(UsageError, match="is not available") as caught:
                use()
            assert "\n" not in str(caught.value)
    assert models.pick_device("auto") == models.pick_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [models.pick_device(d) for d in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(UsageError, match="last GPU here is cuda:1"):
        models.pick_device("cuda:2")


def test_every_entry_point_is_covered():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set(tomllib.loads(text)["project"]["entry-points"]["tedbench.metrics"].values())
    tested = {LpipsAlex, Psnr, Ssim, ClipText, ClipImage, ClipDirectional, DinoImage, StructureDistance, Fid}
    assert named == {f"{c.__module__}:{c.__name__}" for c in tested | NEEDS_DOWNLOAD | JUDGE_TOYS | ASK_A_SERVER}


def test_fid_says_why_not():
    with pytest.raises(MetricError, match="thousands of images"):
        Fid()


def test_importing_the_metrics_loads_no_torch():
    names = ", ".join(f"tedbench_metrics.{n}" for n in ("lpips", "clip", "dino", "pixels", "fid", "oracle", "judge"))
    heavy = ("torch", "transformers", "open_clip", "skimage", "openai")
    code = f"import sys, {names}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_readme_example_runs(tmp_path, monkeypatch, drawn, pair_of):
    """The example of metrics/README.md, as printed, by the road that the page names."""
    text = (ROOT / "metrics/README.md").read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(text.split("```python\n")[1].split("```")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    metric = registry.make("metric", "mine:MeanColour@96")
    assert isinstance(metric, Metric) and metric.identity == "mean-colour/96-crop-pillow-bicubic"
    source, edit = drawn(1), drawn(2)
    a, b = (np.asarray(image, float).mean((0, 1)) for image in (source, edit))
    assert metric.score([pair_of(source)] * 2, [source, edit]) == pytest.approx([0, np.linalg.norm(a - b)])
    monkeypatch.delitem(sys.modules, "mine")
