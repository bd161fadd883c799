"""The noise schedule of a model, and what its network predicts.

    x_t = α_t x_0 + σ_t ε

In the DDPM family α_t = √ᾱ_t, σ_t = √(1 − ᾱ_t), and ᾱ is a table over whole timesteps 0 … T−1 (Ho et al. 2020, arXiv
2006.11239). Between two of them the log-SNR log(ᾱ/(1−ᾱ)) is interpolated linearly, so that t is continuous, and beyond
the last it goes on with the last slope.
A network predicts one of (Salimans and Ho 2022, arXiv 2202.00512, for v)

    ε,    v = α_t ε − σ_t x_0,    x_0

and every one of them gives both x_0 and ε.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tedbench.errors import MethodError

Prediction = Literal["epsilon", "v_prediction", "sample"]
CLEAN = -1.0
"""The time of an image without noise, where a path ends."""
_SMALLEST = 2.0**-24  # a schedule rescaled to zero terminal SNR ends in ᾱ = 0, whose log-SNR is no number


class Schedule(ABC):
    """How much noise each time has, which times a sampler visits, and what the network's output means.

    Times fall from nearly T, pure noise, to 0, and end at `CLEAN`. Another family of models is another subclass.
    """

    T: int
    """Number of training timesteps."""

    @abstractmethod
    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α_t and σ_t of times of any shape, whole or not, `CLEAN` or in [0, T); float64 on the CPU."""

    @abstractmethod
    def path(self, steps: int) -> list[float]:
        """The times that a sampler visits, falling, without `CLEAN`.

        Raises:
            MethodError: for a number of steps that the model does not allow.
        """

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n training times, (n,)."""

    @abstractmethod
    def target(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """What the network is trained to give for x_t: (B, …) for times (B,)."""

    @abstractmethod
    def split(self, output: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What a network's output for x_t says of x_0 and ε, each (B, …)."""

    def time(self, fraction: float) -> float:
        """The time at a fraction in [0, 1) of the way to pure noise: T · fraction, not rounded."""
        return self.T * fraction

    def path_from(self, start: float, steps: int) -> list[float]:
        """`start` and the times of `path(steps)` below it: a partial first step, then whole ones."""
        return [start, *(t for t in self.path(steps) if t < start)]

    def add_noise(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """x_t = α_t x_0 + σ_t ε; t is (B,), x_0 and ε are (B or 1, …)."""
        alpha, sigma = self.like(x_0, t)
        return alpha * x_0 + sigma * epsilon

    def like(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """α_t and σ_t of times (B,), shaped to multiply x (B, …)."""
        alpha, sigma = self.coefficients(t)
        shape = (-1, *[1] * (x.ndim - 1))
        return alpha.to(x).view(shape), sigma.to(x).view(shape)


@dataclass(frozen=True, eq=False)
class Table(Schedule):
    """ᾱ from a table: the DDPM family."""

    alpha_bar: Tensor
    """(T,) float64 on the CPU, falling."""
    clean_alpha_bar: float
    """ᾱ at `CLEAN`: 1, or ᾱ_0 where the scheduler's `set_alpha_to_one` is off."""
    prediction: Prediction
    spacing: str = "leading"
    """diffusers' `timestep_spacing`: leading, trailing or linspace."""
    offset: int = 0
    """diffusers' `steps_offset`, for leading."""
    clip: float | None = None
    """x_0 is clamped to [−clip, clip]; None for latents."""

    @property
    def T(self) -> int:  # type: ignore[override]  # noqa: N802  (the papers' symbol)
        """Length of the table."""
        return len(self.alpha_bar)

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1 − ᾱ_t)."""
        t = t.to("cpu", torch.float64)
        whole = (t == t.floor()) & (t <= self.T - 1)
        # A whole time gives the table's own value, to the last bit.
        alpha_bar = self.alpha_bar.clamp(min=_SMALLEST)[t.clamp(0, self.T - 1).long()]
        if not whole.all():
            alpha_bar = torch.where(whole, alpha_bar, self._between(t))
        alpha_bar = torch.where(t < 0, self.clean_alpha_bar, alpha_bar)
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def _between(self, t: Tensor) -> Tensor:
        log_snr = torch.logit(self.alpha_bar.clamp(min=_SMALLEST))
        below = t.floor().clamp(0, max(self.T - 2, 0)).long()
        above = (below + 1).clamp(max=self.T - 1)
        return torch.sigmoid(torch.lerp(log_snr[below], log_snr[above], t - below))

    def path(self, steps: int) -> list[float]:
        """The whole times that diffusers' DDIMScheduler sets, 1 to T of them."""
        if not 1 <= steps <= self.T:
            raise MethodError(f"{steps} sampling steps; this model allows 1 to {self.T}")
        from diffusers import DDIMScheduler

        ddim = DDIMScheduler(self.T, timestep_spacing=self.spacing, steps_offset=self.offset)
        ddim.set_timesteps(steps)
        # An offset may lead beyond the table where steps = T, and spacings may repeat a time.
        # Trailing ones may end at -1, which here would be the clean end.
        return sorted({min(float(t), self.T - 1.0) for t in ddim.timesteps if t >= 0}, reverse=True)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Uniform over 0 … T−1."""
        return torch.randint(self.T, (n,), generator=generator)

    def target(self, x_0: Tensor, epsilon: Tensor, t: Tensor) -> Tensor:
        """ε, v or x_0."""
        alpha, sigma = self.like(x_0, t)
        if self.prediction == "epsilon":
            return epsilon
        return x_0 if self.prediction == "sample" else alpha * epsilon - sigma * x_0

    def split(self, output: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """x_0 and ε, from whichever of ε, v and x_0 the output is."""
        # The network knows no time before 0: at the clean end its ε is that of time 0, and x_0 is what is left of x_t.
        alpha, sigma = self.like(x_t, t.clamp(min=0))
        if self.prediction == "epsilon":
            x_0, epsilon = (x_t - sigma * output) / alpha, output
        elif self.prediction == "sample":
            x_0, epsilon = output, (x_t - alpha * output) / sigma
        else:
            x_0, epsilon = alpha * x_t - sigma * output, alpha * output + sigma * x_t
        if bool((t < 0).any()):
            alpha, sigma = self.like(x_t, t)
            x_0 = torch.where((t < 0).view(alpha.shape).to(x_t.device), (x_t - sigma * epsilon) / alpha, x_0)
        return (x_0 if self.clip is None else x_0.clamp(-self.clip, self.clip)), epsilon


def from_diffusers(scheduler: object) -> Table:
    """Read a schedule off any diffusers scheduler of the DDPM family; its configuration decides, not its class.

    Raises:
        MethodError: for a prediction type or schedule that we do not know.
    """
    from diffusers import DDIMScheduler

    config = dict(scheduler.config)  # type: ignore[attr-defined]
    if "beta_schedule" not in config or hasattr(scheduler, "sigma_data"):
        raise MethodError(
            f"{type(scheduler).__name__} is no noise schedule of the DDPM family, which these models have"
        )
    config.pop("_use_default_values", None)  # a default of the scheduler's own class counts, not DDIM's
    ddim = DDIMScheduler.from_config(config)
    prediction = ddim.config.prediction_type
    if prediction not in get_args(Prediction):
        raise MethodError(f"prediction type {prediction!r} is not known; known: {', '.join(get_args(Prediction))}")
    if ddim.config.thresholding:
        raise MethodError("dynamic thresholding is not supported; it belongs to pixel models")
    if prediction == "epsilon" and float(ddim.alphas_cumprod[-1]) == 0:
        raise MethodError("a schedule with zero terminal SNR says nothing of x_0 by ε; it belongs to v-prediction")
    # DDIM's own default for a key that the file lacks would clip latents to [-1, 1].
    clip = ddim.config.clip_sample_range if config.get("clip_sample", False) else None
    return Table(
        alpha_bar=ddim.alphas_cumprod.double(),
        clean_alpha_bar=1.0 if config.get("set_alpha_to_one", True) else float(ddim.alphas_cumprod[0]),
        prediction=prediction,
        spacing=ddim.config.timestep_spacing,
        offset=ddim.config.steps_offset,
        clip=clip,
    )
