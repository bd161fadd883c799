"""The toy model's training: it runs from nothing, goes on after a stop to the same bytes, and what it saves loads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from tedbench.datasets import toy, toy_captions
from tedbench.errors import UsageError
from tedbench_methods.backbones import loading
from tedbench_methods.toy import __main__ as command
from tedbench_methods.toy import autoencoder, denoiser, pictures, saving, schooling, tokenizer, training

SMALL = [
    "--device", "cpu", "--pictures", "32", "--vae-steps", "4", "--vae-batch", "2", "--text-steps", "4",
    "--steps", "2", "2", "--batch", "2", "--channels", "32", "32", "32", "--save-every", "1", "--processes", "1",
]  # fmt: skip
LENGTH = denoiser.TOKENS


def weights_of(folder: Path) -> dict[str, str]:
    files = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.json")])
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def run(out: Path, *more: str) -> Path:
    command.main(["--out", str(out), *SMALL, *more])
    return out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for four steps without a stop."""
    return run(tmp_path_factory.mktemp("toy") / "model")


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop in the midst of a step, after its weights have changed."""
    note = training._Run._note

    def stopping(self: training._Run, loss: float, seconds: float) -> None:
        if len(self.record.losses) == step:
            raise KeyboardInterrupt
        note(self, loss, seconds)

    monkeypatch.setattr(training._Run, "_note", stopping)


@pytest.mark.slow
def test_a_stop_changes_no_byte(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 3):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_at(step, patch)
            run(tmp_path / "model")
        if step == 1:
            assert not (tmp_path / "model-work" / "denoiser.pt").exists()
    run(tmp_path / "model")
    assert weights_of(tmp_path / "model") == weights_of(made)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "stage", "file"), [(autoencoder, "trained", "text.pt"), (denoiser, "school", "denoiser.pt")]
)
def test_a_stop_within_a_later_stage_changes_no_byte(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: ModuleType, stage: str, file: str
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        whole = getattr(before, stage)

        def first(*arguments: object) -> object:
            done = whole(*arguments)
            stop_at(2, patch)
            return done

        patch.setattr(before, stage, first)
        run(tmp_path / "model")
    assert (tmp_path / "model-work" / file).exists()
    run(tmp_path / "model")
    assert weights_of(tmp_path / "model") == weights_of(made)


@pytest.mark.slow
def test_it_does_not_touch_the_global_generator(tmp_path: Path) -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    run(tmp_path / "model")
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]


@pytest.mark.slow
def test_another_recipe_in_the_same_folder_is_refused(made: Path) -> None:
    with pytest.raises(SystemExit, match=r"autoencoder\.pt is of a training with rate"):
        run(made, "--vae-rate", "0.5")


@pytest.mark.slow
def test_the_model_loads_as_a_backbone(made: Path) -> None:
    backbone = loading.load(str(made), "cpu", "fp32")
    assert (backbone.size, backbone.shape) == (64, (4, 16, 16))
    latents = backbone.encode(toy.draw(*toy.sample("generator", 0)))
    assert backbone.decode(latents, backbone.embed(["A photo of a dog."]))[0].size == (64, 64)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_model_loads_as_a_pipeline_in_float32(made: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(made, variant="fp16", safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe("A photo of a dog.", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
    assert drawn.size == (64, 64)
    assert {part.dtype for part in (pipe.vae, pipe.unet, pipe.text_encoder)} == {torch.float32}


@pytest.mark.slow
def test_its_latents_have_unit_deviation(made: Path) -> None:
    vae = loading.load(str(made), "cpu", "fp32").pipe.vae  # type: ignore[attr-defined]
    shown = np.stack([pictures.draw(index) for index in range(32)])
    assert autoencoder.encoded(vae, shown, "cpu").astype(np.float32).std() == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_the_saved_tokenizer_cuts_as_the_built_one(made: Path) -> None:
    from transformers import CLIPTokenizer

    saved, built = CLIPTokenizer.from_pretrained(made / "tokenizer"), tokenizer.build(pictures.WORDS, LENGTH)
    for text in ("", "Two small sitting brown dogs wearing hats on a road.", "Zebra, the 12th: ärgerlich 猫!"):
        assert saved(text).input_ids == built(text).input_ids
    assert saved.model_max_length == LENGTH


def test_every_word_is_one_token_and_no_caption_is_cut() -> None:
    told = tokenizer.build(toy_captions.WORDS, LENGTH)
    assert told.eos_token_id == len(told) - 1 == max(told.get_vocab().values())
    for scene in toy.scenes("generator")[::17]:
        text = toy_captions.caption(scene, toy.ATTRIBUTES, 0)
        ids = told(text).input_ids
        assert len(ids) == len(text.replace(".", " .").split()) + 2 <= LENGTH
        assert told.unk_token_id not in ids[1:-1]


def test_merges_of_words_within_words() -> None:
    words = ["and", "sand", "stand", "standing", "a", "an", "banana"]
    ranks = {pair: rank for rank, pair in enumerate(tokenizer.merges(words))}
    assert [tokenizer.pieces(word, ranks) for word in words] == [[word + tokenizer.END] for word in words]


def test_pictures_are_drawn_once_and_the_rest_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.fingerprint()
    monkeypatch.setattr(pictures, "_CHUNK", 4)
    draw, drawn = pictures.draw, []

    def counting(index: int) -> pictures.Pictures:
        drawn.append(index)
        if len(drawn) == 6:
            raise KeyboardInterrupt
        return draw(index)

    monkeypatch.setattr(pictures, "draw", counting)
    with pytest.raises(KeyboardInterrupt):
        pictures.cached(tmp_path, 10, 1)
    shown = pictures.cached(tmp_path, 10, 1)
    assert drawn[6:] == [4, 5, 6, 7, 8, 9]
    assert all(np.array_equal(shown[index], draw(index)) for index in range(10))


def test_captions_are_short_and_long() -> None:
    rng = np.random.default_rng(0)
    lengths = [len(pictures.caption(index, rng).split()) for index in range(300)]
    assert min(lengths) <= 2
    assert max(lengths) >= 12


def test_the_text_encoder_is_asked_what_a_text_names() -> None:
    """What the reader must answer follows from the words alone."""
    rng = np.random.default_rng(1)
    for index in range(60):
        scene, mention, text = pictures.told(index, rng)
        words = set(text.lower().replace(".", "").split())
        said = dict(zip(toy.ATTRIBUTES, schooling.answers(scene, mention), strict=True))
        for name in ("colour", "size", "pose"):
            named = [value for value in toy.ATTRIBUTES[name] if value in words]
            assert [*toy.ATTRIBUTES[name], None][said[name]] == (named[0] if named else None)
        assert said["count"] == (scene.subject not in words)  # one dog, two dogs
        assert (said["accessory"] == 2) == ("hat" not in words and "hats" not in words)


@pytest.mark.slow
def test_the_schooled_text_encoder_is_held(tmp_path: Path) -> None:
    model = denoiser.build(0)
    before = {key: value.clone() for key, value in model.networks.state_dict().items()}
    done = schooling.school(model, training.Recipe((4,), 2, 1e-3, device="cpu"), 12, 64, tmp_path)
    changed = {key for key, value in model.networks.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("text_encoder") for key in changed)
    assert not any(weight.requires_grad for weight in model.networks["text_encoder"].parameters())
    assert done.record.losses[-1] < done.record.losses[0]


def test_the_rate_falls_in_each_cycle() -> None:
    recipe = training.Recipe((100, 300), 2, 1.0, warmup=10)
    rates = [recipe.rate_at(step) for step in range(recipe.steps)]
    assert recipe.steps == 400
    assert rates[:10] == sorted(rates[:10]) and rates[9] > 0.9
    assert rates[10:100] == sorted(rates[10:100], reverse=True) and rates[99] < 0.02
    assert rates[100] == 1.0 == max(rates)
    assert rates[100:] == sorted(rates[100:], reverse=True) and rates[-1] < 0.011
    alone = training.Recipe((100,), 2, 1.0, warmup=10)
    assert [alone.rate_at(step) for step in range(100)] == rates[:100]  # the first cycle does not know of the second


def test_losses_of_equal_pictures_are_nothing() -> None:
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert autoencoder.loss(x, x).item() == 0
    assert autoencoder.loss(x, x + 0.1).item() == pytest.approx(0.4, rel=1e-4)  # a shift has no slopes; four scales


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        saving.check(tmp_path)
