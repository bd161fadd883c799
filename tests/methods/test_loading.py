"""Models from folders and hub: what loads, what is refused, and in how many lines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tedbench import images
from tedbench.errors import MethodError, NetworkError, TedbenchError, UsageError
from tedbench_methods import backbones
from tedbench_methods.backbones import loading, tiny
from tedbench_methods.sdedit import SDEdit


def state(backbone) -> dict[str, torch.Tensor]:
    parts = ("unet", "vae", "text_encoder")
    return {f"{part}.{k}": v for part in parts for k, v in getattr(backbone.pipe, part).state_dict().items()}


def test_a_saved_model_is_the_one_in_memory(tiny_name, saved, pair) -> None:
    folder = saved(tiny_name)
    loaded, made = backbones.load(str(folder)), backbones.load(tiny_name)
    for name, value in state(made).items():
        assert torch.equal(value, state(loaded)[name]), name
    assert loaded.name.startswith(f"{tiny_name}-")
    assert loaded.size == made.size == 64
    assert loaded.schedule.prediction == ("v_prediction" if tiny_name == "tiny-sd2" else "epsilon")
    for model in (str(folder), tiny_name):
        method = SDEdit(model=model, steps=2)
        sweep = method.edit(pair, method.fit(pair, 0), [0.3, 0.8], 0)
        assert sweep == SDEdit(model=tiny_name, steps=2).edit(pair, method.fit(pair, 0), [0.3, 0.8], 0)


def test_loading_is_once_a_process_and_moves_no_generator(saved) -> None:
    before = torch.random.get_rng_state()
    folder = saved("tiny-sd1")
    first = backbones.load(str(folder))
    assert backbones.load(f"{folder}/") is first
    assert backbones.load(str(folder), "cpu", "fp32") is first
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(p.requires_grad for p in first.networks["unet"].parameters())
    assert not first.networks["unet"].training


def test_the_name_changes_with_weights_and_configuration(saved, tmp_path) -> None:
    names = {loading.identity(saved("tiny-sd1"))}
    for what in ("unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"):
        copy = tmp_path / what.split("/")[0] / "tiny-sd1"
        shutil.copytree(saved("tiny-sd1"), copy)
        (copy / what).write_bytes((copy / what).read_bytes() + b" ")
        names.add(loading.identity(copy))
    moved = tmp_path / "moved" / "tiny-sd1"
    shutil.copytree(saved("tiny-sd1"), moved)
    assert len(names) == 3
    assert loading.identity(moved) in names


def test_scaling_steps_and_sizes_come_from_the_configuration(saved, tmp_path, pair) -> None:
    folder = tmp_path / "other"
    shutil.copytree(saved("tiny-sd1"), folder)
    for part, changes in (
        ("vae/config.json", {"scaling_factor": 2.0, "shift_factor": 0.5}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 100, "prediction_type": "v_prediction"}),
    ):
        config = json.loads((folder / part).read_text())
        (folder / part).write_text(json.dumps({**config, **changes}))
    changed, plain = backbones.load(str(folder)), backbones.load("tiny-sd1")
    assert changed.schedule.T == 100
    assert changed.schedule.prediction == "v_prediction"
    image = images.read(pair.image)
    torch.testing.assert_close(changed.encode(image), (plain.encode(image) / 0.18215 - 0.5) * 2)
    x_0 = plain.encode(image)
    pixels = [images.to_uint8(decode.decode(x, None)[0]).astype(int)
              for decode, x in ((changed, (x_0 / 0.18215 - 0.5) * 2), (plain, x_0))]  # fmt: skip
    assert abs(pixels[0] - pixels[1]).max() <= 1  # float32 may round the other way, and does on some processors


def test_a_tiny_autoencoder_works_too(saved, tmp_path, pair) -> None:
    from diffusers import AutoencoderTiny

    folder = tmp_path / "taesd"
    shutil.copytree(saved("tiny-sd1"), folder)
    shutil.rmtree(folder / "vae")
    channels = {"encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8)}
    blocks = {"num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1)}
    with torch.random.fork_rng():
        AutoencoderTiny(**channels, **blocks).save_pretrained(folder / "vae", safe_serialization=True)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "vae": ["diffusers", "AutoencoderTiny"]}))
    method = SDEdit(model=str(folder), steps=2)
    (edit,) = method.edit(pair, method.fit(pair, 0), [0.5], 0)
    assert edit.size == (64, 64)


def test_half_precision_files_load(tmp_path) -> None:
    folder = tmp_path / "half"
    tiny.pipeline("tiny-sd1").to(torch.float16).save_pretrained(folder, safe_serialization=True, variant="fp16")
    backbone = backbones.load(str(folder))
    assert backbone.networks["unet"].dtype == torch.float32
    expected = tiny.pipeline("tiny-sd1").unet.state_dict()
    for name, value in backbone.networks["unet"].state_dict().items():
        assert torch.equal(value, expected[name].half().float())


def test_bf16_computes_nearly_the_same(pair) -> None:
    exact, rough = (SDEdit(model="tiny-sd1", steps=2, dtype=dtype) for dtype in ("fp32", "bf16"))
    assert rough.backbone.networks["unet"].dtype == torch.bfloat16
    state = exact.fit(pair, 0)
    assert torch.equal(state, rough.fit(pair, 0))  # the autoencoder stays in float32
    x, t = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([500.0])
    a, b = (m.backbone.predict(x, t, m.backbone.embed(["A dog."])) for m in (exact, rough))
    assert b.dtype == torch.float32
    assert 0 < float((a - b).abs().mean()) < 0.02 * float(a.abs().mean())


def broken(folder: Path, saved: Path, how: str) -> Path:
    if how == "no folder":
        return folder / "missing" / "model"
    shutil.copytree(saved, folder / "model")
    model = folder / "model"
    if how == "no index":
        (model / "model_index.json").unlink()
    elif how == "index is a list":
        (model / "model_index.json").write_text("[1]")
    elif how == "another class":
        index = json.loads((model / "model_index.json").read_text())
        (model / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    elif how == "no weights":
        (model / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    elif how == "pickles only":
        (model / "vae" / "diffusion_pytorch_model.safetensors").rename(model / "vae" / "diffusion_pytorch_model.bin")
    elif how == "cut weights":
        path = model / "unet" / "diffusion_pytorch_model.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
    return model


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no folder", "no model folder"),
        ("no index", "no model in diffusers' format"),
        ("index is a list", "no model in diffusers' format"),
        ("another class", "is a FluxPipeline; backbones exist for"),
        ("no weights", "no safetensors in unet/"),
        ("pickles only", "no safetensors in vae/"),
        ("cut weights", "does not load"),
    ],
)
def test_a_broken_model_is_one_clear_line(how: str, says: str, saved, tmp_path) -> None:
    with pytest.raises(MethodError, match=says) as caught:
        backbones.load(str(broken(tmp_path, saved("tiny-sd1"), how)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("",), "no model named"),
        (("tiny-sd9",), "Did you mean"),
        (("tiny-sd1", "tpu"), "no device"),
        (("tiny-sd1", "cpu", "int8"), "no dtype"),
        (("tiny-sd1", "cpu", "fp16"), "fp16 does not run on a CPU"),
        (("no_such_module:Model",), "cannot be made"),
    ],
)
def test_a_bad_call_is_one_clear_line(arguments: tuple[str, ...], says: str) -> None:
    with pytest.raises(TedbenchError, match=says) as caught:
        backbones.load(*arguments)
    assert "\n" not in str(caught.value)


def test_devices_that_are_not_here_are_refused() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA GPU here"):
            backbones.load("tiny-sd1", "cuda")


def test_a_hub_that_cannot_be_reached_is_one_clear_line() -> None:
    with pytest.raises(NetworkError, match="go online, or give a folder") as caught:
        backbones.load("nobody/no-such-model@0123456")
    assert "\n" not in str(caught.value)
