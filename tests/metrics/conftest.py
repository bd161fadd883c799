"""Drawn pictures, pairs, and tiny random models saved as the real ones are."""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tedbench.types import EditPair, ImageFile

os.environ["HF_HUB_OFFLINE"] = "1"

WORDS = ["a", "photo", "of", "dog", "cat", "bird", "red", "blue", "green", "house", "tree", "depicts"]


def draw(seed: int, size: tuple[int, int] = (96, 96)) -> Image.Image:
    """Coloured shapes on a gradient: smooth areas and edges, as photos have."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    base = np.stack([x, y, 1 - x], -1) * rng.uniform(60, 255, 3) * 0.9
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(8):
        left, top = rng.integers(0, size[0] - 20), rng.integers(0, size[1] - 20)
        w, h = rng.integers(10, 20, 2)
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((int(left), int(top), int(left + w), int(top + h)), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return image


def encoded(image: Image.Image, name: str = "x.png") -> ImageFile:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return ImageFile(name, hashlib.sha256(buffer.getvalue()).hexdigest(), data=buffer.getvalue())


def make_pair(source: Image.Image, mask: Image.Image | None = None, **kw: Any) -> EditPair:
    kw = {"uid": "u", "target_text": "a photo of a red cat", "source_text": "a photo of a blue dog", **kw}
    return EditPair(image=encoded(source), image_id="i", mask=None if mask is None else encoded(mask, "mask.png"), **kw)


def make_clip(folder: Path, seed: int = 0) -> Path:
    """A tiny random open_clip model as a local folder."""
    import open_clip
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocab = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[SOT]", *WORDS, "[EOT]"))}
    tok = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.post_processor = processors.TemplateProcessing(
        single="[SOT] $A [EOT]", special_tokens=[("[SOT]", vocab["[SOT]"]), ("[EOT]", vocab["[EOT]"])]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tok, pad_token="[PAD]", unk_token="[UNK]", bos_token="[SOT]", eos_token="[EOT]"
    ).save_pretrained(folder)
    text = {"context_length": 10, "vocab_size": len(vocab), "width": 32, "heads": 2, "layers": 2}
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {**text, "hf_tokenizer_name": "local"},
    }
    whole = {"model_cfg": config, "preprocess_cfg": {"interpolation": "bicubic", "resize_mode": "shortest"}}
    (folder / "open_clip_config.json").write_text(json.dumps(whole))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = open_clip.CLIP(16, config["vision_cfg"], text)
        for p in model.parameters():  # the default start is so small that all pictures look alike
            torch.nn.init.normal_(p, std=0.3)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def make_vit(folder: Path, kind: str = "vit", seed: int = 0) -> Path:
    """A tiny random ViT or DINOv2 as transformers saves one."""
    import torch
    from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTImageProcessor, ViTModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        if kind == "vit":
            model = ViTModel(ViTConfig(**sizes, intermediate_size=64), add_pooling_layer=False)
        else:
            model = Dinov2Model(Dinov2Config(**sizes, mlp_ratio=2))
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.3)
        model.save_pretrained(folder)
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="session")
def vit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vit(tmp_path_factory.mktemp("models") / "tiny-vit")


@pytest.fixture(scope="session")
def drawn() -> Any:
    return draw


@pytest.fixture(scope="session")
def pair_of() -> Any:
    return make_pair


@pytest.fixture(scope="session")
def clip_at() -> Any:
    return make_clip


@pytest.fixture(scope="session")
def vit_at() -> Any:
    return make_vit


@pytest.fixture(scope="session")
def half_mask() -> Image.Image:
    """White on the left part, which the edit may change; 96²."""
    mask = Image.new("L", (96, 96), 0)
    mask.paste(255, (0, 0, 37, 96))
    return mask
