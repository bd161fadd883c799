"""What critical readers found in the methods, so that it stays found."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler

from tedbench import facts, registry
from tedbench.errors import MethodError, UsageError
from tedbench_methods import backbones
from tedbench_methods.backbones import tuning
from tedbench_methods.backbones.method import check_strengths
from tedbench_methods.backbones.schedule import CLEAN, from_diffusers
from tedbench_methods.backbones.tuning import Descent
from tedbench_methods.fits import Fit
from tedbench_methods.imagic import Imagic
from tedbench_methods.sdedit import SDEdit

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
FAST = {"embedding_steps": 2, "embedding_rate": 0.1, "tuning_steps": 2, "tuning_rate": 1e-4, "steps": 2}


def changed(folder, out, part: str, **values):
    shutil.copytree(folder, out)
    config = json.loads((out / part).read_text())
    (out / part).write_text(json.dumps({**config, **values}))
    return str(out)


# Nothing that is not finite becomes a picture.


def test_a_fit_that_diverges_is_an_error_and_is_not_kept(pair, tmp_path) -> None:
    method = Imagic(model="tiny-sd1", **{**FAST, "embedding_rate": 1e30}, fits=str(tmp_path))
    with pytest.raises(MethodError, match="the loss is nan at step 1"):
        method.fit(pair, 0)
    assert list(tmp_path.iterdir()) == []


def test_pixels_that_are_not_finite_are_an_error() -> None:
    backbone = backbones.load("tiny-sd1")
    with pytest.raises(MethodError, match="not finite"):
        backbone.decode(torch.full((1, *backbone.shape), float("nan")), None)


def test_settings_that_are_not_finite_are_refused() -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(UsageError):
            SDEdit(model="tiny-sd1", guidance=bad)
        with pytest.raises(UsageError):
            Imagic(model="tiny-sd1", embedding_rate=bad)
        with pytest.raises(UsageError):
            check_strengths([bad], Imagic.strength, beyond=True)
    for wrong in (
        {"tuning": "full"},
        {"sampler": "DDPM"},
        {"optimizer": "sgd"},
        {"dtype": "int8"},
        {"tuning_rate": -1},
    ):
        with pytest.raises(UsageError):
            Imagic(model="tiny-sd1", **wrong)


# Schedules.


@pytest.mark.parametrize("scheduler", [FlowMatchEulerDiscreteScheduler(), EDMEulerScheduler()])
def test_other_families_are_not_read_as_a_table(scheduler) -> None:
    with pytest.raises(MethodError, match="DDPM family"):
        from_diffusers(scheduler)


def test_epsilon_at_zero_snr_is_refused() -> None:
    with pytest.raises(MethodError, match="zero terminal SNR"):
        from_diffusers(DDIMScheduler(**BETAS, rescale_betas_zero_snr=True))


def test_zero_snr_noise_never_falls() -> None:
    schedule = from_diffusers(DDIMScheduler(**BETAS, prediction_type="v_prediction", rescale_betas_zero_snr=True))
    alpha, _ = schedule.coefficients(torch.linspace(990, 999.9, 400, dtype=torch.float64))
    assert bool((alpha.diff() <= 0).all())
    x, t = torch.ones(1, 1), torch.tensor([999.0])
    assert all(bool(torch.isfinite(part).all()) for part in schedule.split(x, x, t))


def test_no_path_ever_holds_the_clean_end() -> None:
    for spacing in ("leading", "trailing", "linspace"):
        schedule = from_diffusers(DDIMScheduler(**BETAS, timestep_spacing=spacing, steps_offset=1))
        assert all(min(schedule.path(steps)) >= 0 for steps in range(1, 1001, 3))


def test_v_and_epsilon_say_the_same_at_the_clean_end() -> None:
    """The network is asked at time 0; what it says of ε must not depend on how it says it."""
    table = {name: from_diffusers(DDIMScheduler(**BETAS, prediction_type=name)) for name in ("epsilon", "v_prediction")}
    x, eps = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([CLEAN])
    alpha, sigma = table["epsilon"].like(x, torch.zeros(1))
    v = (eps - sigma * x) / alpha  # what gives this ε at time 0
    for found, expected in zip(table["v_prediction"].split(v, x, t), table["epsilon"].split(eps, x, t), strict=True):
        torch.testing.assert_close(found, expected)


# Models.


def test_a_latent_side_given_twice_is_a_side(saved, tmp_path) -> None:
    square = backbones.load(changed(saved("tiny-sd1"), tmp_path / "square", "unet/config.json", sample_size=[16, 16]))
    assert square.size == 64
    oblong = changed(saved("tiny-sd1"), tmp_path / "oblong", "unet/config.json", sample_size=[16, 24])
    with pytest.raises(MethodError, match="only square ones"):
        SDEdit(model=oblong).prepare()
        _ = backbones.load(oblong).size


def test_sdxl_saved_as_img2img_is_sdxl_and_a_refiner_is_refused(saved, tmp_path, pair) -> None:
    folder = changed(
        saved("tiny-sdxl"), tmp_path / "xl", "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline",
        requires_aesthetics_score=False,
    )  # fmt: skip
    a, b = (SDEdit(model=model, steps=2) for model in (folder, "tiny-sdxl"))
    assert a.edit(pair, a.fit(pair, 0), [0.5], 0) == b.edit(pair, b.fit(pair, 0), [0.5], 0)
    refiner = changed(
        saved("tiny-sdxl"), tmp_path / "refiner", "model_index.json", _class_name="StableDiffusionXLImg2ImgPipeline",
        requires_aesthetics_score=True,
    )  # fmt: skip
    with pytest.raises(MethodError, match="refiner"):
        backbones.load(refiner)


def test_what_no_backbone_feeds_is_refused(saved, tmp_path) -> None:
    standardised = changed(saved("tiny-sd1"), tmp_path / "a", "vae/config.json", latents_mean=[0.0] * 4)
    with pytest.raises(MethodError, match="standardises its latents"):
        backbones.load(standardised)
    with pytest.raises(MethodError, match="in_channels=8"):
        _eight_channels(saved, tmp_path)


def _eight_channels(saved, tmp_path):
    folder = tmp_path / "eight"
    shutil.copytree(saved("tiny-ip2p"), folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}))
    return backbones.load(str(folder))


def test_a_folder_wins_over_a_tiny_name_and_a_module(saved, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved("tiny-sd2"), tmp_path / "tiny-sd1")
    assert backbones.load("tiny-sd1").schedule.prediction == "v_prediction"
    shutil.copytree(saved("tiny-sd2"), tmp_path / "a:b")
    assert backbones.load("a:b").schedule.prediction == "v_prediction"


def test_steps_a_model_does_not_allow_fail_before_a_fit() -> None:
    with pytest.raises(MethodError, match="1 to 1000"):
        Imagic(model="tiny-sd1", steps=1001).prepare()


def test_masters_are_the_weights_of_the_file(saved) -> None:
    """bf16 rounds by up to 0.4%; a fit that began there would have lost it."""
    exact, rough = (backbones.load(str(saved("tiny-sd1")), "cpu", dtype) for dtype in ("fp32", "bf16"))
    twin = tuning.copied(rough.networks["unet"], masters=rough.masters["unet"]).state_dict()
    for name, value in exact.networks["unet"].state_dict().items():
        assert torch.equal(twin[name], value)
    assert exact.masters == {}
    assert any(not torch.equal(v.float(), twin[k]) for k, v in rough.networks["unet"].state_dict().items())


def test_scaling_the_loss_changes_nothing_but_underflow() -> None:
    schedule = backbones.load("tiny-sd1").schedule

    def fitted(scaled: bool) -> torch.Tensor:
        x = torch.ones(3, requires_grad=True)
        how = Descent(steps=5, rate=0.1, scaled=scaled)
        tuning.descend([x], lambda t, eps: ((x - eps.mean()) ** 2).sum(), schedule, (4,), how,
                       torch.Generator().manual_seed(0))  # fmt: skip
        return x.detach()

    torch.testing.assert_close(fitted(True), fitted(False))
    assert not torch.equal(fitted(True), torch.ones(3))


# Texts.


def test_a_text_that_is_cut_is_on_record(tiny_name: str, pair, pair_of) -> None:
    long = "A photo of " + "very " * 40 + "old dog."
    method = SDEdit(model=tiny_name, steps=2)
    with facts.noted() as kept:
        method.edit(pair_of(target_text=long), method.fit(pair, 0), [0.5], 0)
    assert kept["text_cut"] == [long]
    with facts.noted() as kept:
        method.edit(pair, method.fit(pair, 0), [0.5], 0)
    assert "text_cut" not in kept


# Fits.


def test_a_fit_is_shared_between_names_of_one_model_and_refused_for_another_pair(
    saved, tmp_path, pair, pair_of
) -> None:
    shutil.copytree(saved("tiny-sd1"), tmp_path / "elsewhere")
    here, there = (Imagic(model=str(place), **FAST) for place in (saved("tiny-sd1"), tmp_path / "elsewhere"))
    fit = here.fit(pair, 0)
    assert there.backbone.name != here.backbone.name
    assert there.edit(pair, fit, [0.5], 0) == here.edit(pair, fit, [0.5], 0)
    for other in (pair_of(target_text="A pizza."), pair_of("b--x"), pair_of(size=(70, 64))):
        with pytest.raises(MethodError, match="the fit was made for"):
            here.edit(other, fit, [0.5], 0)


def test_what_does_not_move_a_fit_does_not_make_another(pair, tmp_path) -> None:
    method = Imagic(model="tiny-sd1", **FAST, fits=str(tmp_path))
    fit = method.fit(pair, 0)
    for same in ({"dtype": "fp32"}, {"device": "cpu"}, {"checkpointing": True}, {"batch": 3}):
        with facts.noted() as kept:
            dataclasses.replace(method, **same).fit(pair, 0)
        assert "fit_from" in kept
        assert kept["fit_seconds"] == fit.seconds > 0  # what making it took, not finding it
    with facts.noted() as kept:
        dataclasses.replace(method, dtype="bf16").fit(pair, 0)
    assert "fit_from" not in kept
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_with_other_tensors_is_no_fit(tmp_path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors", {"format": "tedbench-imagic-fit-1"})
    with pytest.raises(MethodError, match="no fit of ours"):
        Fit.load(tmp_path / "x.safetensors")


def test_a_folder_that_cannot_hold_fits_fails_before_one_is_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MethodError, match="fits cannot be kept"):
        Imagic(model="tiny-sd1", fits=str(tmp_path / "file" / "deeper")).prepare()


def test_checkpointing_reaches_the_copy_alone() -> None:
    network = backbones.load("tiny-sd1").networks["unet"]
    assert tuning.copied(network, checkpointing=True).is_gradient_checkpointing
    assert not network.is_gradient_checkpointing


# Pipelines.


def test_img2img_on_a_scheduler_without_times_of_its_own(saved, tmp_path, pair) -> None:
    """PNDM, which Stable Diffusion 1 ships with, has no timesteps before they are set."""
    from tedbench_methods.backbones import tiny

    pipe = tiny.pipeline("tiny-sd1")
    pipe.scheduler = PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1)
    pipe.save_pretrained(tmp_path / "pndm", safe_serialization=True)
    call = {"prompt": "{target_text}", "image": "{image}", "num_inference_steps": 5}
    method = registry.build("method", "diffusers@img2img", {"call": call}, model=str(tmp_path / "pndm"))
    none, half, one = method.edit(pair, method.fit(pair, 0), np.float32([0.0, 0.5, 1.0]), 0)
    assert len({image.tobytes() for image in (none, half, one)}) == 3
