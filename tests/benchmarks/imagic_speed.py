"""Imagic's fit and its 11-strength sweep, ours against a plain port, in one process on one model.

    OMP_NUM_THREADS=1 python tests/benchmarks/imagic_speed.py --out results/benchmarks/imagic_speed_tiny.json
    python tests/benchmarks/imagic_speed.py --model sd15 --device cuda --full --peak-tflops 989 --out …
    python tests/benchmarks/imagic_speed.py --model sd15 --device cuda --preset low-memory --full --out …

The last two are for a GPU: ours alone, all steps of a preset, stage by stage; 989 TFLOP/s is what an H100 or H200 does
at most in dense bf16.

The plain port is what one writes first, without the common mistakes: image and text are encoded once, the model is
frozen while the embedding is optimised, batch 1, and one strength after the other, each with its guidance batch of 2.
Both do the same number of steps of the same arithmetic; how far their images are apart is reported. The port's Adam is
torch's default, ours its fused or foreach form, which is most of what the fit gains. `sd15` has the
architecture of Stable Diffusion 1.5 at 512² with random weights: time and memory do not depend on what weights say.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tedbench import environment, facts, images, models, registry
from tedbench.types import EditPair, ImageFile
from tedbench_methods import backbones
from tedbench_methods.backbones import sampling
from tedbench_methods.backbones.method import noise
from tedbench_methods.imagic import Imagic


def pair() -> EditPair:
    rng = np.random.default_rng(0)
    data = images.encode_png(Image.fromarray(rng.integers(0, 256, (96, 128, 3)).astype(np.uint8)))
    return EditPair(
        "speed", ImageFile("speed.png", images.sha256(data), data=data), "A photo of a sitting dog.", "speed"
    )


class Port:
    """The plain port. It changes its U-Net, as ports do; it is given a copy."""

    def __init__(self, how: Imagic, one: EditPair) -> None:
        from diffusers import DDIMScheduler

        shared = how.backbone.pipe
        self.how, self.one, self.unet = how, one, copy.deepcopy(shared.unet)
        self.vae, self.pipe, self.device = shared.vae, shared, how.backbone.device
        config = {k: v for k, v in shared.scheduler.config.items() if not k.startswith("_")}
        self.scheduler = DDIMScheduler.from_config(config)

    def fit(self) -> None:
        how, unet = self.how, self.unet
        pixels = torch.from_numpy(images.to_signed(images.fit(images.read(self.one.image), how.backbone.size)))[None]
        with torch.no_grad():
            self.x_0 = self.vae.encode(pixels.to(self.device)).latent_dist.mode() * self.vae.config.scaling_factor
            text = (self.one.target_text, self.device, 1, True)
            self.e_tgt, self.empty = self.pipe.encode_prompt(*text)
        self.e_opt = self.e_tgt.clone().requires_grad_(True)
        unet.requires_grad_(False)
        self._descend([self.e_opt], how.embedding_steps, how.embedding_rate, "stage A")
        self.e_opt.requires_grad_(False)
        unet.requires_grad_(True)
        self._descend(list(unet.parameters()), how.tuning_steps, how.tuning_rate, "stage B unet")
        unet.requires_grad_(False)

    def _descend(self, parameters: list[Any], steps: int, rate: float, purpose: str) -> None:
        optimizer = torch.optim.Adam(parameters, lr=rate)
        source = sampling.generator(self.one, 0, purpose)
        for _ in range(steps):
            t = torch.randint(1000, (1,), generator=source)
            eps = torch.randn(self.x_0.shape, generator=source).to(self.device)
            x_t = self.scheduler.add_noise(self.x_0, eps, t.to(self.device))
            output = self.unet(x_t, t.to(self.device), encoder_hidden_states=self.e_opt).sample
            loss = torch.nn.functional.mse_loss(output, eps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @torch.no_grad()
    def sweep(self) -> list[Image.Image]:
        made = []
        for eta in Imagic.strength.grid:
            e = eta * self.e_tgt + (1 - eta) * self.e_opt
            both = torch.cat([self.empty, e])
            x = noise(self.how.backbone, self.one, 0)
            self.scheduler.set_timesteps(self.how.steps)
            for t in self.scheduler.timesteps:
                u, c = self.unet(torch.cat([x, x]), t, encoder_hidden_states=both).sample.chunk(2)
                x = self.scheduler.step(u + self.how.guidance * (c - u), t, x).prev_sample
            decoded = self.vae.decode(x / self.vae.config.scaling_factor).sample
            made += self.pipe.image_processor.postprocess(decoded)
        return made


def timed(work: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    _wait(device)
    started = time.perf_counter()
    found = work()
    _wait(device)
    return found, time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(how: Imagic, repeats: int) -> dict[str, Any]:
    """Ours and the port, in turn, after one round that does not count."""
    one, device = pair(), how.backbone.device
    rows: list[dict[str, float]] = []
    gap = 0
    for _ in range(repeats + 1):
        port = Port(how, one)
        _, port_fit = timed(port.fit, device)
        theirs, port_sweep = timed(port.sweep, device)
        fit, our_fit = timed(lambda: how.fit(one, 0), device)
        ours, our_sweep = timed(lambda fit=fit: how.edit(one, fit, how.strength.grid, 0), device)
        rows.append({"fit": our_fit, "port_fit": port_fit, "sweep": our_sweep, "port_sweep": port_sweep})
        gap = max(
            gap,
            *(int(np.abs(np.asarray(a, int) - np.asarray(b, int)).max()) for a, b in zip(ours, theirs, strict=True)),
        )
    rows = rows[1:]
    medians = {f"{name}_seconds": statistics.median(row[name] for row in rows) for name in rows[0]}
    ratios = {
        f"{name}_ratio": statistics.median(row[f"port_{name}"] / row[name] for row in rows) for name in ("fit", "sweep")
    }
    spread = {
        f"{name}_ratios": sorted(round(row[f"port_{name}"] / row[name], 3) for row in rows) for name in ("fit", "sweep")
    }
    return {**medians, **ratios, **spread, "repeats": repeats, "largest_gap_of_255": gap}


def stages(how: Imagic, peak_tflops: float | None) -> dict[str, Any]:
    """Seconds and peak memory of each stage of ours alone, and the share of the device's peak, where that is given."""
    one, device = pair(), how.backbone.device
    short = dataclasses.replace(how, embedding_steps=3, tuning_steps=3, steps=2)
    short.edit(one, short.fit(one, 0), how.strength.grid, 0)  # kernels are chosen and caches filled
    found: dict[str, Any] = {}
    for name, work in {
        "stage_A": lambda: dataclasses.replace(how, tuning_steps=0).fit(one, 0),
        "stages_A_and_B": lambda: how.fit(one, 0),
    }.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        state, seconds = timed(work, device)
        found[f"{name}_seconds"] = seconds
        found[f"{name}_peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with facts.noted() as kept:
        _, found["sweep_seconds"] = timed(lambda: how.edit(one, state, how.strength.grid, 0), device)
    found["sweep_peak_gib"] = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None
    found["fit_and_sweep_seconds"] = found["stages_A_and_B_seconds"] + found["sweep_seconds"]
    found["batches"] = kept["batches"]
    # A forward pass once, a backward pass twice more; in stage A only through activations, about as much again.
    fit = how.fit_batch * (2 * how.embedding_steps + 3 * how.tuning_steps)
    sweep = 2 * len(how.strength.grid) * how.steps
    found |= {"flops_of_a_pass": flops(how), "passes_of_the_fit": fit, "passes_of_the_sweep": sweep}
    if peak_tflops:
        for name, passes, seconds in (
            ("fit", fit, found["stages_A_and_B_seconds"]), ("sweep", sweep, found["sweep_seconds"])
        ):  # fmt: skip
            found[f"{name}_share_of_peak"] = passes * found["flops_of_a_pass"] / seconds / (peak_tflops * 1e12)
    return found


def flops(how: Imagic) -> int:
    """Of one forward pass of the network for one image, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    backbone = how.backbone
    x_t, text = noise(backbone, pair(), 0), backbone.embed(["A dog."])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone.predict(x_t, torch.tensor([500.0]), text)
    return int(counter.get_total_flops())


def sd15(home: str) -> str:
    """SD 1.5's architecture with random weights, saved for this benchmark; returns its folder."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tedbench_methods.backbones import tiny

    folder = Path(home) / "sd15-random"
    with models.quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        small = tiny.pipeline("tiny-sd1")
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, sample_size=512,
        )  # fmt: skip
        text = CLIPTextModel(CLIPTextConfig(
            hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, vocab_size=514,
            bos_token_id=512, eos_token_id=513, pad_token_id=513,
        ))  # fmt: skip
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        StableDiffusionPipeline(
            vae=vae, text_encoder=text, tokenizer=small.tokenizer, unet=unet,
            scheduler=DDIMScheduler.from_config(small.scheduler.config), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder, safe_serialization=True)  # fmt: skip
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny-sd1", help="tiny name, folder, or sd15 for random weights of its size")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--preset", default="paper-sd", help="of imagic; with --full its own numbers of steps are done")
    parser.add_argument("--full", action="store_true", help="all steps of the preset, ours alone, stage by stage")
    parser.add_argument("--peak-tflops", type=float, help="what the device can do, for the share of it")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sd15-") as home:
        measure(asked, sd15(home) if asked.model == "sd15" else asked.model)


def measure(asked: argparse.Namespace, model: str) -> None:
    short = {} if asked.full else {"embedding_steps": 30, "tuning_steps": 30, "steps": 20}
    given = {
        "model": model,
        "device": asked.device,
        **short,
        **({} if asked.dtype == "auto" else {"dtype": asked.dtype}),
    }
    how: Imagic = registry.build("method", f"imagic@{asked.preset}", given)
    found = stages(how, asked.peak_tflops) if asked.full else compare(how, asked.repeats)
    backbone = backbones.load(model, how.device, how.dtype)
    report = {
        "model": asked.model, "preset": asked.preset, "device": str(backbone.device), "dtype": str(backbone.dtype),
        "gpu": torch.cuda.get_device_name(backbone.device) if backbone.device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in backbone.networks["unet"].parameters()),
        "embedding_steps": how.embedding_steps, "tuning_steps": how.tuning_steps, "sampling_steps": how.steps,
        "strengths": len(how.strength.grid), **found, "versions": environment.versions(),
        "hardware": environment.hardware(), "git_commit": environment.git_commit(), "created": environment.now(),
    }  # fmt: skip
    text = json.dumps(report, indent=2)
    print(text)
    if asked.out:
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
