"""The two toy CLIPs (Radford et al., arXiv 2103.00020) as open_clip keeps models: make, tokenizer, files.

They share neither architecture nor seed nor pictures, so that a method that was trained against one can be judged by
the other. Of four wordings each has three of its own; the fourth is the benchmark's, which both must know. Three folds
of attribute combinations are common to both, two are each one's own; none is the benchmark's.
"""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tedbench.datasets.toy_captions import WORDS
from tedbench_metrics import models
from tedbench_metrics.toy import training

CONTEXT = 32
"""Tokens of a text with its start and end; the longest caption takes under 20."""
MEAN, STD = (0.48, 0.52, 0.54), (0.25, 0.24, 0.27)
"""Of each colour, over the world's pictures, roughly."""
PAD, START, END = "[PAD]", "[START]", "[END]"
FRAME = {"size": 64, "mode": "RGB", "mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}


@dataclass(frozen=True)
class Kind:
    """One of the two."""

    name: str
    """Also the part of the world it learns from and the style of its captions."""
    embed: int
    eye: str
    """Its image network, in words."""
    vision: tuple[tuple[str, Any], ...]
    text: tuple[tuple[str, int], ...]
    plan: training.Plan


_EDGENEXT = {"timm_model_name": "edgenext_xx_small", "timm_model_pretrained": False}
KINDS = {
    "clip-a": Kind(
        "clip-a", 128, "EdgeNeXt (arXiv 2206.10589): patches of 4, depthwise convolutions, attention across channels",
        (("image_size", 64), *_EDGENEXT.items(), ("timm_pool", "avg"), ("timm_proj", "linear")),
        (("width", 96), ("heads", 4), ("layers", 2)),
        training.Plan("clip-a", steps=1500, seed=101, rate=2e-3, batch=96),
    ),
    "clip-b": Kind(
        "clip-b", 96, "CLIP's ResNet, 12 channels wide: bottlenecks, batch statistics, attention pooling",
        (("image_size", 64), ("width", 12), ("layers", (1, 1, 1, 1)), ("head_width", 64)),
        (("width", 96), ("heads", 3), ("layers", 2)),
        training.Plan("clip-b", steps=2000, seed=202, rate=2e-3, batch=128, weight_decay=0.1),
    ),
}  # fmt: skip


def config(kind: Kind) -> dict[str, Any]:
    """What `open_clip_config.json` says."""
    text = {"hf_tokenizer_name": "local", "vocab_size": len(vocabulary()[0]), "context_length": CONTEXT}
    model = {"embed_dim": kind.embed, "vision_cfg": dict(kind.vision), "text_cfg": {**text, **dict(kind.text)}}
    return {"model_cfg": model, "preprocess_cfg": FRAME}


def build(kind: Kind) -> nn.Module:
    """A network with random weights, the same ones each time."""
    import open_clip

    model = config(kind)["model_cfg"]
    with models.construction():
        torch.manual_seed(kind.plan.seed)
        return open_clip.CLIP(model["embed_dim"], model["vision_cfg"], model["text_cfg"])  # type: ignore[no-any-return]


def about(kind: Kind) -> str:
    """One sentence on what it is made of."""
    text = dict(kind.text)
    return (
        f"An open_clip model for 64×64 pictures. Pictures: {kind.eye}. Texts: {text['layers']} layers, width "
        f"{text['width']}. Both end in {kind.embed} features. It knows the toy world and nothing else. In training "
        "a linear map, since thrown away, also had to read the world's attributes off its features."
    )


def load(folder: Path) -> Any:
    """The network of a folder that `write` wrote, in float32 and eval mode."""
    import open_clip

    with models.construction():
        network, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    return network.eval().requires_grad_(False)


def write(network: nn.Module, kind: Kind, folder: Path) -> None:
    """Write what `open_clip.create_model_from_pretrained("local-dir:FOLDER")` reads; weights in float16."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(config(kind), indent=1) + "\n", encoding="utf-8")
    tokenizer().save_pretrained(folder)
    state = {key: _half(value) for key, value in network.state_dict().items()}
    (folder / "open_clip_model.safetensors").write_bytes(save(state))


def tokenizer() -> Any:
    """One token a word of the world's captions; what else there is falls to bytes. Texts are read in lower case."""
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers import models as kinds
    from transformers import PreTrainedTokenizerFast

    vocab, merges = vocabulary()
    tokens = Tokenizer(kinds.BPE(vocab, merges))
    tokens.normalizer = normalizers.Lowercase()
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokens.decoder = decoders.ByteLevel()
    ends = [(START, vocab[START]), (END, vocab[END])]
    tokens.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=tokens, pad_token=PAD, bos_token=START, eos_token=END)


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens with their numbers, and the merges that put each word together letter by letter.

    The padding is 0 and the end has the highest number, by which open_clip finds it.
    """
    from tokenizers.pre_tokenizers import ByteLevel

    space = "Ġ"
    merges: dict[tuple[str, str], None] = {}
    for word in (*WORDS, *string.ascii_lowercase):
        whole = space
        for letter in word:
            merges[whole, letter] = None
            whole += letter
    tokens = [PAD, START, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in merges), END]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, list(merges)


def encode_texts(network: Any, tokens: Tensor, buckets: int = 4) -> Tensor:
    """Unit features, (N, D); the same as open_clip's, without the padding that texts of like length share.

    Text is read from left to right, so nothing after the end is seen.
    """
    order = tokens.argmax(1).argsort(stable=True)
    features = [_encode(network, tokens[some]) for some in order.tensor_split(buckets) if len(some)]
    return torch.cat(features)[order.argsort()]


def encode_images(network: Any, images: Tensor) -> Tensor:
    """Unit features, (B, D), of (B, 3, 64, 64) in [0, 1]."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return nn.functional.normalize(network.encode_image((images - mean) / std).float(), dim=-1)


def _encode(network: Any, tokens: Tensor) -> Tensor:
    ends = tokens.argmax(1)
    n = int(ends.max()) + 1
    x = network.token_embedding(tokens[:, :n]) + network.positional_embedding[:n]
    x = network.ln_final(network.transformer(x, attn_mask=network.attn_mask[:n, :n]))
    last = x[torch.arange(len(x), device=x.device), ends]
    return nn.functional.normalize(last @ network.text_projection, dim=-1)


def _half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value
