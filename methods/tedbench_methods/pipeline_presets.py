"""Configurations of `diffusers` pipelines, with the source of their values. In all, a higher knob means more editing.

"Defaults" are those of the pipeline's signature in diffusers 0.42; what no source states is marked as ours.

img2img           SDEdit (arXiv 2108.01073) as diffusers has it: defaults. 0 is the autoencoder's round trip.
img2img-xl        The same for SDXL: defaults.
instruct-pix2pix  InstructPix2Pix (arXiv 2211.09800): defaults, which are 100 steps, s_T 7.5 and s_I 1.5. The knob is
                  the text's guidance s_T, since more of it is more editing; s_I, image_guidance_scale, works the other
                  way round. At 1 and below the pipeline switches both off, so the range, ours, begins above.
ledits++          LEDITS++ (arXiv 2311.16711) on SD: steps 50, skip 0, threshold 0.6 and s_e 15 are the most frequent
                  values in the authors' own list for TEdBench++, where they were chosen by hand for each image; nothing
                  is chosen here. Defaults are 30, 0.15, 0.9 and 5. The knob is s_e, its range ours. 0 is what the
                  inversion gives back, which diffusers' documentation warns is not exactly the input. For the knob
                  `invert.skip` less is more editing.
ledits++-xl       The same on SDXL, which is ours; by default its masks come from the noise alone.
flux-kontext      FLUX.1 Kontext (arXiv 2506.15742): defaults. The knob is the distilled guidance, its range ours.
                  Untested: its calls are checked against diffusers, the model fits no machine of our tests.
qwen-image-edit   Qwen-Image-Edit (arXiv 2508.02324): defaults; the blank negative prompt switches guidance on. The knob
                  is that guidance, its range ours. Untested, as the one above.

Those that follow instructions are given `instruction`. Who wants to give them captions, which is unfair to them, says
so in `call`; the cells' facts tell which text was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_SDE = {
    "scheduler": "DPMSolverMultistepScheduler",
    "scheduler_config": {"algorithm_type": "sde-dpmsolver++", "solver_order": 2},
}
# What LEDITS++ takes where a model comes with a scheduler it does not know; DDIM, which it knows, crashes.
_INVERT = {"image": "{image}", "num_inversion_steps": 50, "skip": 0.0}
_LEDITS = {
    **_SDE, "first": "invert", "first_call": _INVERT,
    "knob": "edit_guidance_scale", "low": 0.0, "high": 30.0, "default": 15.0,
    "call": {"editing_prompt": ["{target_text}"], "edit_threshold": 0.6},
}  # fmt: skip

PIPELINES: Mapping[str, Mapping[str, Any]] = MappingProxyType({
    "img2img": {
        "pipeline": "StableDiffusionImg2ImgPipeline",
        "knob": "strength", "default": 0.8, "fraction_of": "num_inference_steps",
        "call": {
            "prompt": "{target_text}", "image": "{image}", "num_inference_steps": 50, "guidance_scale": 7.5,
        },
    },
    "img2img-xl": {
        "pipeline": "StableDiffusionXLImg2ImgPipeline",
        "knob": "strength", "default": 0.3, "fraction_of": "num_inference_steps",
        "call": {
            "prompt": "{target_text}", "image": "{image}", "num_inference_steps": 50, "guidance_scale": 5.0,
        },
    },
    "instruct-pix2pix": {
        "pipeline": "StableDiffusionInstructPix2PixPipeline",
        "knob": "guidance_scale", "low": 1.5, "high": 15.0, "default": 7.5,
        "grid": (1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5, 12.0, 13.5, 15.0),
        "call": {
            "prompt": "{instruction}", "image": "{image}", "num_inference_steps": 100, "image_guidance_scale": 1.5,
        },
    },
    "ledits++": {"pipeline": "LEditsPPPipelineStableDiffusion", **_LEDITS},
    "ledits++-xl": {"pipeline": "LEditsPPPipelineStableDiffusionXL", **_LEDITS},
    "flux-kontext": {
        "pipeline": "FluxKontextPipeline",
        "knob": "guidance_scale", "low": 1.0, "high": 6.0, "default": 3.5,
        "call": {"prompt": "{instruction}", "image": "{image}", "num_inference_steps": 28},
    },
    "qwen-image-edit": {
        "pipeline": "QwenImageEditPipeline",
        "knob": "true_cfg_scale", "low": 1.0, "high": 7.0, "default": 4.0,
        "call": {"prompt": "{instruction}", "negative_prompt": " ", "image": "{image}", "num_inference_steps": 50},
    },
})  # fmt: skip
