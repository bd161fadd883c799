"""The schedule against its table, against numpy, and against the definitions of ε, v and x_0."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, PNDMScheduler
from hypothesis import given
from hypothesis import strategies as st

from tedbench.errors import MethodError
from tedbench_methods.backbones.schedule import CLEAN, from_diffusers

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SD = {**BETAS, "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}


def times(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_whole_times_have_the_tables_own_noise() -> None:
    scheduler = DDIMScheduler(**SD)
    alpha, sigma = from_diffusers(scheduler).coefficients(torch.arange(1000))
    assert torch.equal(alpha**2, scheduler.alphas_cumprod.double().sqrt() ** 2)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1000, dtype=torch.float64), rtol=0, atol=1e-12)


@given(st.floats(0, 998.999))
def test_between_two_times_log_snr_is_interpolated(t: float) -> None:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alpha_bar = np.cumprod(1 - betas)
    log_snr = np.interp(t, np.arange(1000), np.log(alpha_bar / (1 - alpha_bar)))
    alpha, _ = from_diffusers(DDIMScheduler(**SD)).coefficients(times(t))
    assert float(alpha) == pytest.approx((1 / (1 + np.exp(-log_snr))) ** 0.5, rel=2e-5)  # the table is float32


def test_noise_rises_to_the_end_and_beyond_the_table() -> None:
    schedule = from_diffusers(DDIMScheduler(**SD))
    _, sigma = schedule.coefficients(torch.linspace(0, 999.999, 5003, dtype=torch.float64))
    assert bool((sigma.diff() > 0).all())
    assert float(sigma[-1]) < 1


def test_the_clean_end_is_the_schedulers_own() -> None:
    for to_one, expected in ((True, 1.0), (False, 1 - 0.00085)):
        schedule = from_diffusers(DDIMScheduler(**{**SD, "set_alpha_to_one": to_one}))
        assert float(schedule.coefficients(times(CLEAN))[0] ** 2) == pytest.approx(expected, abs=1e-6)


def test_zero_terminal_snr_stays_finite() -> None:
    schedule = from_diffusers(DDIMScheduler(**SD, prediction_type="v_prediction", rescale_betas_zero_snr=True))
    alpha, sigma = schedule.coefficients(times(998.5, 999.0, 999.5))
    assert torch.isfinite(alpha).all()
    assert torch.isfinite(sigma).all()


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 3, 50, 999, 1000])
def test_paths_are_diffusers_own(spacing: str, steps: int) -> None:
    scheduler = DDIMScheduler(**{**SD, "timestep_spacing": spacing})
    path = from_diffusers(scheduler).path(steps)
    scheduler.set_timesteps(steps)
    # With an offset and all 1000 steps diffusers' own first time is 1000, which is not in its table.
    assert path == list(dict.fromkeys(float(t) for t in scheduler.timesteps.clamp(max=999)))


def test_half_of_fifty_steps_starts_at_481() -> None:
    schedule = from_diffusers(DDIMScheduler(**SD))
    assert schedule.path_from(481.0, 50) == schedule.path(50)[25:]
    assert schedule.path_from(490.5, 50) == [490.5, *schedule.path(50)[25:]]
    assert schedule.time(0.481) == pytest.approx(481)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_a_model_does_not_allow_are_refused(steps: int) -> None:
    with pytest.raises(MethodError, match="1 to 1000"):
        from_diffusers(DDIMScheduler(**SD)).path(steps)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_perfect_output_gives_back_what_was_mixed(prediction: str) -> None:
    schedule = from_diffusers(DDIMScheduler(**SD, prediction_type=prediction))
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 3, 4, 5, 5, generator=generator, dtype=torch.float64)
    t = times(1, 481.5, 998)
    x_t = schedule.add_noise(x_0, eps, t)
    found_x, found_eps = schedule.split(schedule.target(x_0, eps, t), x_t, t)
    torch.testing.assert_close(found_x, x_0)
    torch.testing.assert_close(found_eps, eps)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_targets_and_noising_are_diffusers_own(prediction: str) -> None:
    from diffusers import DDPMScheduler

    oracle = DDPMScheduler(**BETAS, prediction_type=prediction)
    schedule = from_diffusers(oracle)
    x_0, eps = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([7, 900])
    torch.testing.assert_close(schedule.add_noise(x_0, eps, t), oracle.add_noise(x_0, eps, t))
    expected = {"epsilon": eps, "sample": x_0, "v_prediction": oracle.get_velocity(x_0, eps, t)}[prediction]
    torch.testing.assert_close(schedule.target(x_0, eps, t), expected)


@pytest.mark.parametrize("scheduler", [PNDMScheduler(**BETAS, steps_offset=1), EulerDiscreteScheduler(**BETAS)])
def test_a_schedule_is_read_off_any_scheduler_and_latents_are_never_clipped(scheduler: object) -> None:
    schedule = from_diffusers(scheduler)
    assert schedule.clip is None
    assert torch.equal(schedule.alpha_bar.float(), DDIMScheduler(**BETAS).alphas_cumprod)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(MethodError, match="thresholding"):
        from_diffusers(DDIMScheduler(**SD, thresholding=True))
    with pytest.raises(MethodError, match="prediction type 'flow_prediction'"):
        from_diffusers(EulerDiscreteScheduler(**BETAS, prediction_type="flow_prediction"))
