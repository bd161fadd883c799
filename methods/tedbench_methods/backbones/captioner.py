"""A captioner: BLIP (arXiv 2201.12086) through transformers says what a photo shows, where a source text is needed.

Greedy decoding, no prompt: the same photo gives the same words.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tedbench import models
from tedbench.errors import MethodError, short
from tedbench_methods.backbones.loading import fetched, identity, is_folder, pick

LONGEST = 40
"""Tokens in a caption."""


@dataclass(frozen=True, eq=False)
class Captioner:
    """A loaded BLIP model."""

    name: str
    """With its hash or commit."""
    model: Any
    processor: Any
    device: torch.device

    @torch.inference_mode()
    def caption(self, image: Image.Image) -> str:
        """What an RGB image shows, in words.

        Raises:
            MethodError: if the model says nothing.
        """
        inputs = self.processor(images=image, return_tensors="pt").to(self.device)
        ids = self.model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=LONGEST)
        text: str = self.processor.decode(ids[0], skip_special_tokens=True).strip()
        if not text:
            raise MethodError(f"captioner {self.name} says nothing of the image; give source texts with --captions")
        return text


@functools.cache
def load(model: str, device: str) -> Captioner:
    """A captioner, loaded once a process.

    Args:
        model: folder or hub id of a BLIP captioning model, safetensors only.
        device: as everywhere.

    Raises:
        MethodError: if it is no such model, or does not load.
        NetworkError: if the hub is needed and cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from transformers import BlipForConditionalGeneration, BlipProcessor

    place, _ = pick(device, "fp32")
    wanted = ["*.json", "*.txt", "*.safetensors"]
    folder = Path(model).expanduser() if is_folder(model) else fetched(model, snapshot_download, allow_patterns=wanted)
    try:
        with models.quiet(), torch.random.fork_rng(devices=[]):
            blip = BlipForConditionalGeneration.from_pretrained(folder, use_safetensors=True, local_files_only=True)
            processor = BlipProcessor.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises whatever broke
        raise MethodError(
            f"captioner {model!r} does not load: {short(error, 90)}; name a BLIP captioning model"
        ) from error
    return Captioner(identity(folder), blip.to(place).requires_grad_(False).eval(), processor, place)
