"""CLIP scores against open_clip called by hand, with a tiny random model."""

from __future__ import annotations

import json
import shutil
import time
import warnings

import pytest
import torch
from PIL import Image

from tedbench.errors import MetricError, MetricNote, NetworkError, UnknownName, UsageError
from tedbench_metrics import clip
from tedbench_metrics.clip import ClipDirectional, ClipImage, ClipText


@pytest.fixture(scope="module")
def oracle(clip_folder):
    import open_clip

    model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{clip_folder}")
    model.eval()

    def image(picture):
        with torch.no_grad():
            f = model.encode_image(prepare(picture)[None])[0]
        return f / f.norm()

    def text(words):
        with torch.no_grad():
            f = model.encode_text(tokenizer([words]))[0]
        return f / f.norm()

    return image, text


def cos(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=0).item()


def test_equal_open_clip_by_hand(clip_folder, oracle, drawn, pair_of):
    image, text = oracle
    sources, edits = [drawn(1), drawn(1), drawn(3, (60, 40))], [drawn(2), drawn(4, (50, 70)), drawn(5)]
    targets = ["a red cat", "a green bird", "a green bird"]
    pairs = [pair_of(s, target_text=t) for s, t in zip(sources, targets, strict=True)]
    kw = {"model": str(clip_folder), "batch": 2}
    rows = list(zip(sources, edits, targets, strict=True))
    assert ClipText(**kw).score(pairs, edits) == pytest.approx([cos(image(e), text(t)) for _, e, t in rows], abs=1e-5)
    assert ClipText(**kw, prefix="A photo depicts ").score(pairs, edits) == pytest.approx(
        [cos(image(e), text("A photo depicts " + t)) for _, e, t in rows], abs=1e-5
    )
    assert ClipImage(**kw).score(pairs, edits) == pytest.approx([cos(image(e), image(s)) for s, e, _ in rows], abs=1e-5)
    old = text("a photo of a blue dog")
    assert ClipDirectional(**kw).score(pairs, edits) == pytest.approx(
        [cos(image(e) - image(s), text(t) - old) for s, e, t in rows], abs=1e-5
    )


def test_no_direction_is_zero(clip_folder, drawn, pair_of):
    metric, source = ClipDirectional(model=str(clip_folder)), drawn(1)
    still = pair_of(source, source_text="a red cat", target_text="a red cat")
    assert metric.score([pair_of(source), still], [source, drawn(2)]) == [0.0, 0.0]
    with pytest.raises(MetricError, match="no source text"):
        metric.score([pair_of(source, source_text=None)], [source])


def test_identities(clip_folder, clip_at, tmp_path, monkeypatch):
    def refuse(*a, **k):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(clip, "load", refuse)
    assert ClipText().identity == "clip-ViT-L-14-openai-quickgelu/224-shortest-bicubic/cos"
    assert ClipText(model="ViT-B-32/laion2b_s34b_b79k").identity.startswith("clip-ViT-B-32-laion2b_s34b_b79k/224-")
    assert ClipText(prefix="A photo, depicts ").identity.endswith("/cos/prefix=A%20photo%2C%20depicts%20")
    assert len({cls().identity for cls in (ClipText, ClipImage, ClipDirectional)}) == 3
    a, b = clip_at(tmp_path / "a" / "tiny", 0), clip_at(tmp_path / "b" / "tiny", 1)
    first = ClipText(model=str(a)).identity
    assert first.startswith("clip-tiny-") and "/32-shortest-bicubic/" in first
    assert ClipText(model=f"local-dir:{a}").identity == first != ClipText(model=str(b)).identity
    shutil.copy(b / "open_clip_model.safetensors", a)
    assert ClipText(model=str(a)).identity == ClipText(model=str(b)).identity


def test_identity_follows_preprocessing_and_tokenizer(clip_at, tmp_path, drawn, pair_of):
    folder, case = clip_at(tmp_path / "tiny"), ([pair_of(drawn(1))], [drawn(2)])
    file, tokenizer = folder / "open_clip_config.json", folder / "tokenizer.json"
    metric = ClipText(model=str(folder))
    seen = [(metric.identity, metric.score(*case)[0])]
    for change in ({"mean": [0.5] * 3}, {"std": [0.5] * 3}):
        config = json.loads(file.read_text())
        config["preprocess_cfg"] |= change
        file.write_text(json.dumps(config))
        seen.append((metric.identity, metric.score(*case)[0]))
    words = json.loads(tokenizer.read_text())
    vocab = words["model"]["vocab"]
    vocab["cat"], vocab["dog"] = vocab["dog"], vocab["cat"]
    tokenizer.write_text(json.dumps(words))
    seen.append((metric.identity, metric.score(*case)[0]))
    assert len({name for name, _ in seen}) == len({value for _, value in seen}) == 4
    for name in ("merges.txt", "spiece.model"):  # tokenizers that are no JSON
        before = metric.identity
        (folder / name).write_text("a b")
        assert metric.identity != before


def test_a_folder_of_ones_own_is_custom(clip_folder):
    assert ClipText(model=str(clip_folder)).facts["custom"] == "yes" != ClipText().facts["custom"]


def test_replaced_weights_are_loaded_anew(clip_at, tmp_path, drawn, pair_of):
    folder, case = clip_at(tmp_path / "tiny", 0), ([pair_of(drawn(1))], [drawn(2)])
    first = ClipText(model=str(folder)).score(*case)
    clip_at(folder, 1)
    assert ClipText(model=str(folder)).score(*case) != first


def test_openai_weights_run_with_quickgelu(monkeypatch):
    """Only the transport is faked: the weights that `download_pretrained` hands over are random ones."""
    import open_clip
    from open_clip import factory
    from open_clip.transformer import QuickGELU

    assert clip.resolve("ViT-B-32/openai").arguments["force_quick_gelu"] is True
    assert clip.resolve("ViT-B-32/laion2b_s34b_b79k").arguments["force_quick_gelu"] is False
    small = open_clip.get_model_config("ViT-B-32")
    small["vision_cfg"] |= {"layers": 1, "width": 64}
    small["text_cfg"] |= {"layers": 1, "width": 64, "heads": 1}
    monkeypatch.setitem(factory._MODEL_CONFIGS, "ViT-B-32", small)
    monkeypatch.setattr(factory, "download_pretrained", lambda *a, **k: "file")
    monkeypatch.setattr(factory, "load_checkpoint", lambda *a, **k: {})
    network = clip.load.__wrapped__(clip.resolve("ViT-B-32/openai"), "cpu")
    kinds = {type(m).__name__ for m in network.model.modules()}
    assert QuickGELU.__name__ in kinds and "GELU" not in kinds


def test_weights_that_are_not_there_never_score(clip_at, tmp_path, drawn, pair_of):
    case = [pair_of(drawn(1))], [drawn(2)]
    folder = clip_at(tmp_path / "tiny")
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(MetricError, match="no weights in model folder"):
        ClipText(model=str(folder)).score(*case)
    with pytest.raises(MetricError, match="no folder"):
        ClipText(model=f"local-dir:{tmp_path}/none").score(*case)
    with pytest.raises(UnknownName):
        ClipText(model="ViT-B-32/opanai").score(*case)
    with pytest.raises(UsageError):
        ClipText(model="ViT-B-32").score(*case)


def test_weights_in_part_never_score(clip_at, tmp_path, drawn, pair_of):
    from safetensors.torch import load_file, save_file

    file = clip_at(tmp_path / "tiny") / "open_clip_model.safetensors"
    state = load_file(file)
    state.pop("visual.proj")
    save_file(state, file)
    with pytest.raises(MetricError, match="does not load") as caught:
        ClipText(model=str(file.parent)).score([pair_of(drawn(1))], [drawn(2)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["ViT-B-32/openai", "hf-hub:nobody/no-such-model"])
def test_offline_fails_at_once(monkeypatch, tmp_path, drawn, pair_of, model):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(NetworkError, match="go online") as caught:
        ClipText(model=model).score([pair_of(drawn(1))], [drawn(2)])
    assert "\n" not in str(caught.value) and time.monotonic() - start < 15


def test_cut_texts_are_told(clip_folder, drawn, pair_of):
    fits, long = "dog " * 8, "a photo of a red cat in a blue house by a tree"
    metric, edit = ClipText(model=str(clip_folder)), drawn(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.score([pair_of(drawn(1), target_text=fits)], [edit])
    other = "dog " * 20
    said = []
    for texts in ((fits, long, long, other), (other, fits), (long,)):
        with pytest.warns(MetricNote) as caught:
            metric.score([pair_of(drawn(1), target_text=t) for t in texts], [edit] * len(texts))
        said.append([str(w.message) for w in caught])
    assert said[0][0] == f"text {long!r} exceeds the 10 tokens of tiny-clip and was cut"
    assert said[0][1].startswith("text 'dog dog ") and "…' exceeds" in said[0][1]
    assert said[1:] == [[said[0][1]], [said[0][0]]], "the same words in every chunk, so that they can be said once"


def test_the_usual_tokenizer_is_understood_too():
    import open_clip

    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clip._note_cut(tokenizer, ["dog " * 75], "x")
    with pytest.warns(MetricNote, match="exceeds the 77 tokens"):
        clip._note_cut(tokenizer, ["dog " * 76], "x")


def test_sizes_need_no_resizing_by_us(clip_folder, oracle, pair_of):
    """The model's own preprocessing cuts a wide picture's sides off; we do not resize before it."""
    wide = Image.new("RGB", (300, 100), (10, 200, 30))
    wide.paste((255, 0, 0), (0, 0, 40, 100))
    image, text = oracle
    got = ClipText(model=str(clip_folder)).score([pair_of(wide)], [wide])[0]
    assert got == pytest.approx(cos(image(wide), text("a photo of a red cat")), abs=1e-5)
