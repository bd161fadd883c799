"""DINO similarities against a forward pass by hand, with tiny random models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from tedbench import images
from tedbench.errors import MetricError, NetworkError, UsageError
from tedbench_metrics import dino, models
from tedbench_metrics.dino import DinoImage, StructureDistance


def by_hand(folder):
    from transformers import AutoImageProcessor, AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    return model, AutoImageProcessor.from_pretrained(folder)


@pytest.fixture(scope="module", params=["vit", "dinov2"])
def folder(request, vit_folder, vit_at, tmp_path_factory):
    return vit_folder if request.param == "vit" else vit_at(tmp_path_factory.mktemp("m") / "tiny-v2", "dinov2")


def test_cls_cosine(folder, drawn, pair_of):
    model, prepare = by_hand(folder)
    sources, edits = [drawn(1), drawn(1), drawn(3)], [drawn(2), drawn(4, (50, 70)), drawn(3)]

    def cls(picture):
        with torch.no_grad():
            hidden = model(**prepare(images=picture, return_tensors="pt"), output_hidden_states=True).hidden_states[-1]
        return torch.nn.functional.layer_norm(hidden, (32,), model.layernorm.weight, model.layernorm.bias,
                                              model.config.layer_norm_eps)[0, 0]  # fmt: skip

    want = [torch.nn.functional.cosine_similarity(cls(e), cls(s), dim=0).item() for e, s in zip(edits, sources)]  # noqa: B905
    got = DinoImage(model=str(folder), batch=2).score([pair_of(s) for s in sources], edits)
    assert got == pytest.approx(want, abs=1e-5) and got[2] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("size", [32, 64])
def test_structure_distance(folder, drawn, pair_of, size):
    """Keys from the weights themselves, and the cosines one by one as the paper's code has them."""
    model, prepare = by_hand(folder)
    layers = model.layers if hasattr(model, "layers") else model.encoder.layer
    last, k = layers[-1], layers[-1].attention.k_proj

    def similarity(picture):
        small = np.asarray(images.fit(picture, size)) / 255
        pixels = torch.tensor((small - prepare.image_mean) / prepare.image_std).float().permute(2, 0, 1)[None]
        caught = {}
        norm = last.layernorm_before if hasattr(last, "layernorm_before") else last.norm1
        handle = norm.register_forward_hook(lambda m, i, o: caught.update(x=o))
        with torch.no_grad():
            model(pixels, **({"interpolate_pos_encoding": True} if hasattr(model, "layers") else {}))
            keys = (caught["x"] @ k.weight.T + k.bias)[0]
        handle.remove()
        return torch.stack([torch.nn.functional.cosine_similarity(key[None], keys, dim=1) for key in keys])

    source, edit = drawn(1), drawn(2)
    tokens = 1 + (size // 8) ** 2
    assert similarity(edit).shape == (tokens, tokens)
    want = torch.nn.functional.mse_loss(similarity(edit), similarity(source)).item()
    got = StructureDistance(model=str(folder), size=size).score([pair_of(source)] * 2, [edit, source])
    assert got == pytest.approx([want, 0], abs=1e-6) and want > 1e-4


def test_weights_in_part_never_score(vit_at, tmp_path, drawn, pair_of):
    from safetensors.torch import load_file, save_file

    file = vit_at(tmp_path / "tiny") / "model.safetensors"
    state = load_file(file)
    gone = next(key for key in state if key.endswith("weight") and "attention" in key)
    del state[gone]
    save_file(state, file, metadata={"format": "pt"})
    for cls in (DinoImage, StructureDistance):
        with pytest.raises(MetricError, match="did not load") as caught:
            cls(model=str(file.parent)).score([pair_of(drawn(1))], [drawn(2)])
        assert "\n" not in str(caught.value)
    file.unlink()
    with pytest.raises(MetricError, match="no weights"):
        _ = DinoImage(model=str(file.parent)).identity


def test_identity_follows_weights(vit_folder, vit_at, tmp_path):
    other = vit_at(tmp_path / "tiny-vit", seed=1)
    for cls in (DinoImage, StructureDistance):
        assert cls(model=str(vit_folder)).identity != cls(model=str(other)).identity
        assert cls(model=f"local-dir:{other}").identity == cls(model=str(other)).identity
    assert "/32-crop0-resample" in DinoImage(model=str(other)).identity


def test_identity_follows_preprocessing(vit_at, tmp_path, drawn, pair_of):
    folder, case = vit_at(tmp_path / "tiny"), ([pair_of(drawn(1))], [drawn(2)])
    file = folder / "preprocessor_config.json"
    both = DinoImage(model=str(folder)), StructureDistance(model=str(folder), size=32)
    seen = []
    for change in ({}, {"image_mean": [0.1, 0.2, 0.3]}, {"image_std": [0.2] * 3}):
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        seen.append([(metric.identity, metric.score(*case)[0]) for metric in both])
    for one in zip(*seen, strict=True):
        assert len({name for name, _ in one}) == len({value for _, value in one}) == 3


def test_a_folder_of_ones_own_is_custom(vit_folder):
    for cls in (DinoImage, StructureDistance):
        assert cls(model=str(vit_folder)).facts["custom"] == "yes"


def test_loading_is_silent_and_bars_come_back(vit_folder, capfd):
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), are_progress_bars_disabled()
    logging.enable_progress_bar()
    dino.load.__wrapped__(models.resolve(str(vit_folder), dino.WEIGHTS), "cpu")
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled() and not are_progress_bars_disabled()
    logging.disable_progress_bar()
    dino.load.__wrapped__(models.resolve(str(vit_folder), dino.WEIGHTS), "cpu")
    assert not logging.is_progress_bar_enabled() and are_progress_bars_disabled()
    if before[0]:
        logging.enable_progress_bar()


def test_size_must_fit_the_patches(vit_folder, drawn, pair_of):
    with pytest.raises(UsageError, match="try 40"):
        StructureDistance(model=str(vit_folder), size=44).score([pair_of(drawn(1))], [drawn(2)])


def test_models_without_keys_are_refused():
    with pytest.raises(MetricError, match="no key projection"):
        dino.keys(torch.nn.Linear(3, 3), torch.zeros(1, 3))


def test_offline_fails_at_once(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(NetworkError, match="go online"):
        _ = DinoImage(model="nobody/no-such-model").identity
    with pytest.raises(MetricError, match="no hub id"):
        _ = DinoImage(model="/no/such/folder/here").identity
