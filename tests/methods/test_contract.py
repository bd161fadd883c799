"""Every built-in keeps the contract on every kind of model, and each way of breaking it is noticed as that."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from tedbench import images, registry
from tedbench.cli import app
from tedbench.errors import DataError
from tedbench.types import Strength
from tedbench_methods import backbones
from tedbench_methods.backbones.fingerprint import fingerprints
from tedbench_methods.contract import Contract
from tedbench_methods.pictures import encoded_anew, pictures

BAD = """
from dataclasses import dataclass
from tedbench import images
from tedbench.types import Strength

@dataclass(frozen=True)
class Bad:
    strength = Strength("none", "-", 0.0, (0.0,), 0.0, 0.0)
    def fit(self, pair, seed): return None
    def edit(self, pair, state, strengths, seed): return [images.read(pair.image).copy() for _ in strengths]
"""
BUILT_IN = ("imagic", "imagic?tuning=lora&preset=check", "sdedit", "ddib", "crossfade", "text-only", "autoencoder")


def broken(method: Any) -> list[str]:
    return [f"{finding.promise}: {finding.why}" for finding in Contract(method).findings() if finding.kept is False]


def checked(*arguments: str) -> tuple[int, list[str]]:
    """`tedbench check` as a user calls it, in this process: exit code, and the lines it prints."""
    done = CliRunner().invoke(app, ["check", *arguments])
    return done.exit_code, done.output.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("spec", BUILT_IN)
def test_built_ins_keep_it(spec: str, tiny_name: str) -> None:
    code, lines = checked(spec, "--model", tiny_name)
    assert [line for line in lines if line.startswith("BROKEN")] == []
    assert code == 0
    assert sum(line.startswith("kept") for line in lines) >= 14
    assert len(lines) == 17


def test_a_method_that_breaks_it_is_an_error(tmp_path, monkeypatch) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    monkeypatch.chdir(tmp_path)
    code, lines = checked("bad:Bad")
    assert code == 7
    assert any(line.startswith("BROKEN  another seed") for line in lines)
    assert lines[-1].endswith("1 broken")


def test_identity_keeps_it() -> None:
    assert broken(registry.make("method", "identity")) == []


def test_outputs_keeps_it(tmp_path) -> None:
    for pair in (*pictures(), encoded_anew(pictures()[2])):
        images.read(pair.image).save(tmp_path / f"{pair.uid}.png")
    assert broken(registry.make("method", f"outputs@{tmp_path}?template=%7Buid%7D.png")) == []


@dataclass(frozen=True)
class Good:
    """Seeded noise over the input; the mutants below break one promise each."""

    strength: ClassVar[Strength] = Strength("amount", "a", 0.5, (0.0, 0.5, 1.0), 0.0, 1.0)
    sigma: float = 40.0

    def fit(self, pair, seed: int) -> Any:
        return images.to_uint8(images.read(pair.image)).astype(float)

    def edit(self, pair, state, strengths: Sequence[float], seed: int) -> list[Image.Image]:
        noise = np.random.default_rng(seed).normal(0, self.sigma, state.shape)
        return [self.draw(state + a * noise) for a in strengths]

    def draw(self, x: np.ndarray) -> Image.Image:
        return Image.fromarray(x.clip(0, 255).round().astype(np.uint8))


def test_a_good_method_keeps_it() -> None:
    assert broken(Good()) == []


class NotFrozen(Good):
    """Sets what it likes."""

    __dataclass_params__ = dataclass(type("Loose", (), {})).__dataclass_params__


@dataclass(frozen=True)
class BareField:
    sigma: float
    strength: ClassVar[Strength] = Good.strength
    fit, edit, draw = Good.fit, Good.edit, Good.draw


@dataclass(frozen=True)
class Falling(Good):
    strength: ClassVar[Strength] = Strength("amount", "a", 0.5, (1.0, 0.5), 0.0, 1.0)


@dataclass(frozen=True)
class OutsideRange(Good):
    strength: ClassVar[Strength] = Strength("amount", "a", 0.5, (0.0, 2.0), 0.0, 1.0)


@dataclass(frozen=True)
class TooFew(Good):
    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state, strengths, seed)[1:]


@dataclass(frozen=True)
class Gray(Good):
    def edit(self, pair, state, strengths, seed):
        return [image.convert("L") for image in super().edit(pair, state, strengths, seed)]


@dataclass(frozen=True)
class Sizes(Good):
    def edit(self, pair, state, strengths, seed):
        return [image.resize((64, 64 + i)) for i, image in enumerate(super().edit(pair, state, strengths, seed))]


@dataclass(frozen=True)
class GlobalNoise(Good):
    def edit(self, pair, state, strengths, seed):
        noise = np.random.normal(0, self.sigma, state.shape)
        return [self.draw(state + a * noise) for a in strengths]


@dataclass(frozen=True)
class MovesTorch(Good):
    def fit(self, pair, seed):
        torch.manual_seed(seed)
        return super().fit(pair, seed)


@dataclass(frozen=True)
class MovesPython(Good):
    def fit(self, pair, seed):
        random.random()
        return super().fit(pair, seed)


@dataclass(frozen=True)
class SwitchesGradients(Good):
    def fit(self, pair, seed):
        torch.set_grad_enabled(False)
        return super().fit(pair, seed)


@dataclass(frozen=True)
class HearsText(Good):
    """Good, and its state depends on picture and text."""

    def fit(self, pair, seed):
        return super().fit(pair, seed) + len(pair.target_text)


STALE: list = []
KEPT: dict = {}


@dataclass(frozen=True)
class StaleFit(HearsText):
    """The public defect: refit only where picture *and* text changed."""

    def fit(self, pair, seed):
        if not STALE or (STALE[0] != pair.image.sha256 and STALE[1] != pair.target_text):
            STALE[:] = [pair.image.sha256, pair.target_text, super().fit(pair, seed)]
        return STALE[2]


@dataclass(frozen=True)
class KeyedOnImage(HearsText):
    def fit(self, pair, seed):
        return KEPT.setdefault(("image", pair.image.sha256), super().fit(pair, seed))


@dataclass(frozen=True)
class Exits(Good):
    def edit(self, pair, state, strengths, seed):
        raise SystemExit(0)


@dataclass(frozen=True, slots=True)
class Slots:
    strength: ClassVar[Strength] = Good.strength
    sigma: float = 40.0
    fit, edit, draw = Good.fit, Good.edit, Good.draw


def test_slots_are_fine() -> None:
    assert broken(Slots()) == []


def test_hearing_the_text_is_fine() -> None:
    assert broken(HearsText()) == []


@dataclass(frozen=True)
class Deaf(Good):
    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state, strengths, 0)


@dataclass(frozen=True)
class FalselyDeterministic(Good):
    deterministic: ClassVar[bool] = True


@dataclass(frozen=True)
class Stuck(Good):
    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state, [0.5] * len(strengths), seed)


@dataclass(frozen=True)
class NoiseByPlace(Good):
    def edit(self, pair, state, strengths, seed):
        return [super(NoiseByPlace, self).edit(pair, state, [a], seed + i)[0] for i, a in enumerate(strengths)]


@dataclass(frozen=True)
class Sorted(Good):
    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state, sorted(strengths), seed)


@dataclass(frozen=True)
class Remembers(Good):
    seen: list = field(default_factory=list)

    def fit(self, pair, seed):
        self.seen.append(pair.uid)
        return super().fit(pair, seed) + 3 * len(set(self.seen))


@dataclass(frozen=True)
class KeptInSelf(Good):
    def fit(self, pair, seed):
        object.__setattr__(self, "current", super().fit(pair, seed))
        return self.current


@dataclass(frozen=True)
class Unpicklable(Good):
    def fit(self, pair, seed):
        x = super().fit(pair, seed)
        return lambda: x

    def edit(self, pair, state, strengths, seed):
        return super().edit(pair, state(), strengths, seed)


@dataclass(frozen=True)
class WritesArguments(Good):
    def edit(self, pair, state, strengths, seed):
        made = super().edit(pair, state, strengths, seed)
        if isinstance(strengths, list):
            strengths.reverse()
        return made


@dataclass(frozen=True)
class WritesImage(Good):
    def edit(self, pair, state, strengths, seed):
        images.read(pair.image).putpixel((0, 0), (1, 2, 3))
        return super().edit(pair, state, strengths, seed)


@dataclass(frozen=True)
class PutsInAText(Good):
    def edit(self, pair, state, strengths, seed):
        text = pair.source_text or pair.target_text
        return super().edit(pair, state + len(text), strengths, seed)


@dataclass(frozen=True)
class VagueRefusal(Good):
    def fit(self, pair, seed):
        if pair.instruction is None:
            raise DataError("this pair will not do")
        return super().fit(pair, seed)


@dataclass(frozen=True)
class CrashesWithoutText(Good):
    def fit(self, pair, seed):
        return super().fit(pair, seed) + len(pair.source_text)


@dataclass(frozen=True)
class ClearRefusal(Good):
    def fit(self, pair, seed):
        if pair.source_text is None:
            raise DataError(f"{pair.uid} has no source_text; give --captions FILE")
        return super().fit(pair, seed) + len(pair.source_text)


def test_a_clear_refusal_keeps_it() -> None:
    assert broken(ClearRefusal()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "promise"),
    [
        (NotFrozen(), "a frozen dataclass"),
        (BareField(1.0), "a frozen dataclass"),
        (Falling(), "a strength whose grid rises"),
        (OutsideRange(), "a strength whose grid rises"),
        (TooFew(), "one RGB image a strength"),
        (Gray(), "one RGB image a strength"),
        (Sizes(), "one RGB image a strength"),
        (GlobalNoise(), "same seed, same bytes"),
        (MovesTorch(), "global random generators"),
        (MovesPython(), "global random generators"),
        (SwitchesGradients(), "global random generators"),
        (StaleFit(), "no pair sees"),
        (KeyedOnImage(), "no pair sees"),
        (Exits(), "one RGB image"),
        (Deaf(), "another seed, other bytes"),
        (FalselyDeterministic(), "another seed, other bytes"),
        (Stuck(), "the strength moves the image"),
        (NoiseByPlace(), "a sweep may be split"),
        (Sorted(), "a sweep may be reordered"),
        (Remembers(), "no pair sees"),
        (KeptInSelf(), "nothing is kept in self"),
        (Unpicklable(), "a state can be pickled"),
        (WritesArguments(), "arguments come back"),
        (WritesImage(), "arguments come back"),
        (PutsInAText(), "a missing source_text"),
        (CrashesWithoutText(), "a missing source_text"),
        (VagueRefusal(), "a missing instruction"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_each_way_of_breaking_it_is_noticed(method: Any, promise: str) -> None:
    images.read.cache_clear()
    found = broken(method)
    images.read.cache_clear()
    assert any(line.startswith(promise) for line in found), found


@dataclass(frozen=True)
class WritesModel(Good):
    model: str = "tiny-sd1"
    how: str = "weight"

    def fit(self, pair, seed):
        unet = backbones.load(self.model).networks["unet"]
        if self.how == "weight":
            unet.conv_in.weight.data[0, 0, 0, 0] += 1e-6
        elif self.how == "train":
            unet.mid_block.train()
        elif self.how == "gradients":
            unet.conv_out.weight.requires_grad_(True)
        elif self.how == "hook":
            unet.conv_out.register_forward_hook(lambda *_: None)
        elif self.how == "processor":
            from diffusers.models.attention_processor import AttnProcessor

            unet.set_attn_processor(AttnProcessor())
        elif self.how == "patched":
            forward = unet.conv_out.forward
            unet.conv_out.forward = lambda x: forward(x)
        elif self.how == "config":
            backbones.load(self.model).pipe.scheduler.register_to_config(prediction_type="sample")
        elif self.how == "table":
            backbones.load(self.model).schedule.alpha_bar.mul_(0.99)
        elif self.how == "vocabulary":
            backbones.load(self.model).pipe.tokenizer.add_tokens(["<v>"])
        elif self.how == "adapter":
            unet.conv_in.extra = torch.nn.Linear(2, 2)
        return super().fit(pair, seed)


@pytest.mark.parametrize(
    "how",
    ["weight", "train", "gradients", "hook", "processor", "adapter", "patched", "config", "table", "vocabulary"],
)
def test_a_method_that_changes_the_model_is_noticed(how: str) -> None:
    from tedbench_methods.backbones import loading

    held = dict(loading._held)
    loading._held.clear()  # what is damaged here must not reach another test
    try:
        assert any(line.startswith("the shared model") for line in broken(WritesModel(how=how)))
    finally:
        loading._held.clear()
        loading._held.update(held)


def test_fingerprints_tell_models_apart_and_stay() -> None:
    backbones.load("tiny-sd1")
    backbones.load("tiny-sd2")
    first = fingerprints()
    assert len(set(first.values())) == len(first) >= 2
    assert fingerprints() == first


def test_check_leaves_the_global_generators_alone() -> None:
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()
    broken(GlobalNoise())
    assert before == (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist())
