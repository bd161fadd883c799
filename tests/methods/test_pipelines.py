"""Pipelines of diffusers: equal to diffusers' own calls, at both ends defined, and leaving nothing behind."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from tedbench import facts, images, models, registry
from tedbench.errors import DataError, MethodError, TedbenchError, UnknownName, UsageError
from tedbench.types import EditPair
from tedbench_methods.anchors import NO_KNOB, Autoencoder
from tedbench_methods.backbones import borrowed, tiny
from tedbench_methods.backbones.sampling import generator
from tedbench_methods.pipeline_calls import check_names
from tedbench_methods.pipeline_presets import PIPELINES
from tedbench_methods.pipelines import Pipeline

STEPS = 4
FEW = {
    "img2img": ("tiny-sd1", "call", "num_inference_steps", (0.25, 0.8)),
    "img2img-xl": ("tiny-sdxl", "call", "num_inference_steps", (0.25, 0.8)),
    "instruct-pix2pix": ("tiny-ip2p", "call", "num_inference_steps", (1.5, 12.0)),
    "ledits++": ("tiny-ledits", "first_call", "num_inversion_steps", (0.0, 15.0)),
    "ledits++-xl": ("tiny-sdxl", "first_call", "num_inversion_steps", (0.0, 15.0)),
}
"""Presets that run here: model, where their steps are set, and two strengths."""


def make(preset: str, model: str | Path = "", **changes: Any) -> Pipeline:
    """A preset with few steps."""
    tiny_model, field, steps, _ = FEW[preset]
    few = {field: {**PIPELINES[preset][field], steps: STEPS}}
    return registry.build("method", f"diffusers@{preset}", {"model": str(model or tiny_model), **few, **changes})


def edits(method: Pipeline, pair: EditPair, strengths: tuple[float, ...], seed: int = 0) -> list[Image.Image]:
    return method.edit(pair, method.fit(pair, seed), strengths, seed)


@pytest.fixture
def pair(pair_of: Callable[..., EditPair]) -> EditPair:
    return pair_of(instruction="Make the dog sit.")


def everything(pipe: Any) -> Any:
    """All that is in a pipeline, as values that compare: an oracle apart from the one that the library uses."""
    return {name: list(_described(part, name, set())) for name, part in pipe.components.items()}


def _described(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    if isinstance(thing, torch.Tensor):
        bits = thing.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        yield path, f"{thing.dtype} {thing.requires_grad} {thing.data_ptr()} {images.sha256(bits)}"
    elif isinstance(thing, dict | list | tuple):
        items = thing.items() if isinstance(thing, dict) else enumerate(thing)
        yield path, f"{type(thing).__name__} of {len(thing)}"
        for key, value in items:
            yield from _described(value, f"{path}[{key}]", seen)
    elif hasattr(thing, "__dict__") and not isinstance(thing, type) and not inspect.isroutine(thing):
        if id(thing) not in seen:
            seen.add(id(thing))
            yield path, f"{type(thing).__qualname__} {id(thing)}"
            for key, value in vars(thing).items():
                yield from _described(value, f"{path}.{key}", seen)
    else:
        yield path, repr(thing)


def theirs(cls: type[Any], model: str) -> Any:
    """A pipeline put together without our code."""
    parts = {name: part for name, part in tiny.pipeline(model).components.items() if name != "image_encoder"}
    with models.quiet():
        pipe = cls(**parts, requires_safety_checker=False)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):  # as from_pretrained leaves them; another mode rounds otherwise
            part.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.74, 1.0])
def test_img2img_is_diffusers_own(strength: float, pair: EditPair) -> None:
    (ours,) = edits(make("img2img"), pair, (strength,))
    pipe = theirs(diffusers.StableDiffusionImg2ImgPipeline, "tiny-sd1")
    image, noise = images.fit(images.read(pair.image), 64), generator(pair, 0, "x_T")
    done = pipe(pair.target_text, image, strength=strength, num_inference_steps=STEPS, generator=noise)
    assert ours == done.images[0]


def test_instruct_pix2pix_is_diffusers_own(pair: EditPair) -> None:
    ours = edits(make("instruct-pix2pix"), pair, (3.0, 7.5))
    pipe = theirs(diffusers.StableDiffusionInstructPix2PixPipeline, "tiny-ip2p")
    image = images.fit(images.read(pair.image), 64)
    for answer, scale in zip(ours, (3.0, 7.5), strict=True):
        noise = generator(pair, 0, "x_T")
        call = {"num_inference_steps": STEPS, "guidance_scale": scale, "image_guidance_scale": 1.5, "generator": noise}
        assert answer == pipe(pair.instruction, image, **call).images[0]


def test_ledits_is_diffusers_own(pair: EditPair) -> None:
    """Inverted once for our whole sweep, and anew for each of diffusers' calls."""
    ours = edits(make("ledits++"), pair, (5.0, 15.0))
    image = images.fit(images.read(pair.image), 64)
    for answer, scale in zip(ours, (5.0, 15.0), strict=True):
        pipe = theirs(diffusers.LEditsPPPipelineStableDiffusion, "tiny-ledits")
        pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="sde-dpmsolver++", solver_order=2
        )
        with models.quiet():
            pipe.invert(image, num_inversion_steps=STEPS, skip=0.0, generator=generator(pair, 0, "invert"))
            done = pipe(editing_prompt=[pair.target_text], edit_guidance_scale=scale, edit_threshold=0.6)
        assert answer == done.images[0]


@pytest.mark.parametrize(("preset", "model"), [("img2img", "tiny-sd1"), ("img2img", "tiny-sd2"), ("img2img-xl", "")])
def test_no_whole_step_is_the_autoencoders_answer(preset: str, model: str, pair: EditPair) -> None:
    method = make(preset, model)
    with facts.noted() as kept:
        none, little, one = edits(method, pair, (0.0, 0.24, 0.25))
    (anchor,) = Autoencoder(model=method.model).edit(pair, None, [0.0], 0)
    assert none == little == anchor != one
    assert (kept["no_step"], kept["batches"], kept["split"]) == ([0.0, 0.24], [1, 1, 1], False)
    assert (kept["model"], kept["device"], kept["dtype"], kept["text"]) == (
        method.model, "cpu", "float32", "target_text",
    )  # fmt: skip


@pytest.mark.parametrize("preset", FEW)
def test_presets_run_and_hear_seed_and_strength(preset: str, pair: EditPair) -> None:
    method, strengths = make(preset), FEW[preset][3]
    first, again, other = (edits(method, pair, strengths, seed) for seed in (0, 0, 1))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert first[0] != first[1]
    assert edits(method, pair, strengths[1:]) == first[1:]
    assert {(image.size, image.mode) for image in first} == {((64, 64), "RGB")}
    assert pickle.loads(pickle.dumps(method)) == method == copy.deepcopy(method)


@pytest.mark.parametrize(
    ("preset", "model"), [("img2img", "tiny-sd1"), ("instruct-pix2pix", ""), ("ledits++", ""), ("ledits++-xl", "")]
)
def test_a_folder_gives_what_memory_gives(
    preset: str, model: str, pair: EditPair, saved: Callable[[str], Path]
) -> None:
    strengths = FEW[preset][3]
    folder = saved(model or FEW[preset][0])
    assert edits(make(preset, folder), pair, strengths) == edits(make(preset, model), pair, strengths)


@pytest.mark.parametrize("preset", FEW)
def test_the_shared_pipeline_stays_as_it_is(preset: str, pair: EditPair) -> None:
    method = make(preset)
    pipe = method.lender.pipe
    before, state = everything(pipe), {key: id(value) for key, value in vars(pipe).items()}
    edits(method, pair, FEW[preset][3])
    assert method.lender.pipe is pipe
    assert everything(pipe) == before
    assert {key: id(value) for key, value in vars(pipe).items()} == state


def test_a_bad_argument_leaves_nothing(pair: EditPair) -> None:
    """It is found in the middle of the call, after the timesteps are set."""
    method = make("img2img")
    bad = make("img2img", call={**method.call, "cross_attention_kwargs": {"scale": "much"}, "eta": "none"})
    before = everything(method.lender.pipe)
    with pytest.raises(TypeError):
        edits(bad, pair, (0.5,))
    assert bad.lender is method.lender
    assert everything(method.lender.pipe) == before


def test_ledits_stumbling_leaves_nothing(pair: EditPair) -> None:
    """It has exchanged attention processors and inverted by then; the smaller network has nothing to mask by."""
    method = make("ledits++", "tiny-sd1")
    before = everything(method.lender.pipe)
    with pytest.raises(ValueError, match="non-empty list"):
        edits(method, pair, (15.0,))
    assert everything(method.lender.pipe) == before


def test_global_generators_are_not_read_and_stay(pair: EditPair) -> None:
    method = make("ledits++")
    wanted = edits(method, pair, (15.0,))
    torch.manual_seed(5)
    np.random.seed(5)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert edits(method, pair, (15.0,)) == wanted
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


class Vandal(diffusers.StableDiffusionImg2ImgPipeline):
    """Writes to weights that others share, as a fused adapter would."""

    def __call__(self, prompt: str, image: Any, how: str = "", strength: float = 0.5) -> Any:  # type: ignore[override]
        weight = self.unet.conv_in.weight
        if how == "data":  # which torch does not count
            weight.data[0] += 1
        elif how == "swap":  # which leaves the sum as it is
            with torch.no_grad():
                weight.copy_(weight.flip(0))
        elif how == "stumble":
            weight.data.zero_()
            raise RuntimeError("and falls")
        elif how == "own":  # moves its own copy alone
            self.unet.to(torch.float64)
            self.unet.conv_in.weight.requires_grad_(True)
            self.vae.enable_tiling()
            self.unet.train()
            self.unet.register_forward_hook(lambda *_: None)
        return [torch.rand(3).tolist()] if how == "no picture" else [image]


VANDAL = {"pipeline": f"{__name__}:Vandal", "model": "tiny-sd1", "knob": "strength"}


@pytest.mark.parametrize("how", ["data", "swap", "stumble"])
def test_a_write_to_weights_is_noticed_and_undone(how: str, pair: EditPair) -> None:
    method = Pipeline(**VANDAL, call={"prompt": "{target_text}", "image": "{image}", "how": how})
    pipe = method.lender.pipe
    before = pipe.unet.conv_in.weight.clone()
    with pytest.raises(MethodError, match="wrote to the weights of tiny-sd1"):
        edits(method, pair, (0.5,))
    assert method.lender.pipe is not pipe
    assert torch.equal(method.lender.pipe.unet.conv_in.weight, before)


def test_what_a_pipeline_does_to_itself_is_its_own_affair(pair: EditPair) -> None:
    method = Pipeline(**VANDAL, call={"prompt": "{target_text}", "image": "{image}", "how": "own"})
    before = everything(method.lender.pipe)
    edits(method, pair, (0.2, 0.5))
    assert everything(method.lender.pipe) == before


def test_no_picture_is_one_line(pair: EditPair) -> None:
    method = Pipeline(**VANDAL, call={"prompt": "", "image": "{image}", "how": "no picture"})
    with pytest.raises(MethodError, match="gave float, no picture"):
        edits(method, pair, (0.5,))


def test_a_pipeline_is_loaded_once_a_process() -> None:
    first, again = make("img2img").lender, make("img2img").lender
    assert first is again
    assert first in borrowed.lenders()
    assert make("ledits++", "tiny-sd1").lender is not first


@pytest.mark.parametrize("name", PIPELINES)
def test_presets_name_what_diffusers_has(name: str) -> None:
    """Also those of models that no test can hold."""
    method = registry.make("method", f"diffusers@{name}", model="anything")
    check_names(method, borrowed.pipeline_class(method.pipeline))
    assert method.strength.low <= method.strength.grid[0] < method.strength.grid[-1] <= method.strength.high


def test_needs_are_read_off_the_templates(pair_of: Callable[..., EditPair]) -> None:
    method = make("instruct-pix2pix")
    assert (method.needs, make("img2img").needs) == ({"instruction"}, frozenset())
    for attempt in (lambda: method.fit(pair_of(), 0), lambda: method.edit(pair_of(), None, [7.5], 0)):
        with pytest.raises(DataError, match="has no instruction") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    both = make("img2img", call={"prompt": "from {source_text} to {target_text}", "image": "{image}"})
    assert both.needs == {"source_text"}
    with pytest.raises(DataError, match="has no source_text"):
        both.fit(pair_of(source_text=None), 0)


def test_captions_for_an_instruction_model_are_noted(pair: EditPair) -> None:
    call = {**make("instruct-pix2pix").call, "prompt": "{target_text}"}
    with facts.noted() as kept:
        edits(make("instruct-pix2pix", call=call), pair, (7.5,))
    assert kept["text"] == "target_text"


def test_braces_of_a_pair_are_just_text(pair_of: Callable[..., EditPair]) -> None:
    strange = pair_of(target_text="a {dog} {source_text} {image} }{", instruction="{0}")
    (ours,) = edits(make("img2img"), strange, (0.5,))
    pipe = theirs(diffusers.StableDiffusionImg2ImgPipeline, "tiny-sd1")
    image, noise = images.fit(images.read(strange.image), 64), generator(strange, 0, "x_T")
    done = pipe(strange.target_text, image, strength=0.5, num_inference_steps=STEPS, generator=noise)
    assert ours == done.images[0]
    (alone,) = edits(make("img2img"), pair_of(target_text="{image}"), (0.5,))
    assert alone != ours


def test_the_knob_may_belong_to_the_first_call(pair: EditPair) -> None:
    """LEDITS++'s skip: the less, the more editing."""
    first_call = {"image": "{image}", "num_inversion_steps": STEPS}
    call = {"editing_prompt": ["{target_text}"], "edit_guidance_scale": 15.0}
    knob = {"knob": "invert.skip", "low": 0.0, "high": 0.5, "default": 0.15}
    method = make("ledits++", first_call=first_call, call=call, **knob)
    assert (method.strength.name, method.strength.high, len(method.strength.grid)) == ("skip", 0.5, 11)
    little, much = edits(method, pair, (0.0, 0.5))
    assert little != much
    fixed = make("ledits++", first_call={**first_call, "skip": 0.5}, call={"editing_prompt": ["{target_text}"]})
    assert edits(fixed, pair, (15.0,)) == [much]


def test_a_whole_number_is_what_a_count_is_given(pair: EditPair) -> None:
    call = {"prompt": "{target_text}", "image": "{image}", "strength": 0.5}
    steps = {"knob": "num_inference_steps", "fraction_of": "", "low": 2.0, "high": 8.0, "default": 4.0}
    (four,) = edits(make("img2img", call=call, **steps), pair, (4.0,))
    assert [four] == edits(make("img2img"), pair, (0.5,))


def test_a_pipeline_without_a_knob_has_the_nominal_one(pair: EditPair) -> None:
    method = make("img2img", call={**make("img2img").call, "strength": 0.5}, knob="", fraction_of="", default=0.0)
    assert method.strength == NO_KNOB
    assert edits(method, pair, (0.0,)) == edits(make("img2img"), pair, (0.5,))


def test_size_and_scheduler_are_settings(pair: EditPair) -> None:
    (small,) = edits(make("img2img", size=32), pair, (0.5,))
    assert small.size == (32, 32)
    (round_trip,) = edits(make("img2img", size=32), pair, (0.0,))
    assert round_trip.size == (32, 32)
    other = make("img2img", scheduler="EulerDiscreteScheduler", scheduler_config={"timestep_spacing": "trailing"})
    assert edits(other, pair, (0.5,)) != edits(make("img2img"), pair, (0.5,))
    assert type(other.lender.pipe.scheduler).__name__ == "DDIMScheduler"


def test_half_precision_runs(pair: EditPair) -> None:
    method = make("img2img", dtype="bf16")
    none, some = (np.asarray(image, dtype=float) for image in edits(method, pair, (0.0, 0.25)))
    exact = np.asarray(edits(make("img2img"), pair, (0.0,))[0], dtype=float)
    assert 0 < np.abs(none - exact).max() < 16 < np.abs(none - some).max()


def test_all_of_it_can_be_said_in_text() -> None:
    call = {"prompt": "{target_text}", "image": "{image}", "num_inference_steps": 3}
    spec = f"diffusers?pipeline=StableDiffusionImg2ImgPipeline&knob=strength&grid=[0.1,0.9]&call={json.dumps(call)}"
    method = registry.make("method", spec, model="tiny-sd1")
    assert (method.call, method.strength.grid) == (call, (0.1, 0.9))
    assert registry.build("method", "diffusers", registry.field_values(method)) == method


GOOD = {"pipeline": "StableDiffusionImg2ImgPipeline", "model": "tiny-sd1"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pipeline": ""}, "no pipeline named; set pipeline=CLASS, or pick @img2img"),
        ({"call": {"prompt": "a {dog}"}}, "brace that names nothing"),
        ({"call": {"prompt": ["{target_text"]}}, "brace that names nothing"),
        ({"call": {"prompt": {"a": "see {image}"}}}, "brace that names nothing"),
        ({"call": {"generator": 1}}, "made from pair and seed"),
        ({"call": {"strength": 1}, "knob": "strength"}, "set besides"),
        ({"first_call": {"skip": 1}}, "names no method"),
        ({"knob": "invert.skip"}, "but first is ''"),
        ({"fraction_of": "num_inference_steps"}, "wants a knob"),
        ({"scheduler_config": {"beta_start": 0.1}}, "wants the scheduler named"),
        ({"knob": "strength", "default": 2.0}, r"must lie in \[0, 1\]"),
        ({"knob": "strength", "grid": (0.5, 0.1)}, "must rise"),
        ({"size": 3}, "size 3"),
        ({"device": "tpu"}, "no device"),
    ],
)
def test_what_contradicts_itself_is_refused_at_once(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Pipeline(**{**GOOD, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pipeline": "StableDiffusionImg2ImgPipelin"}, "Did you mean 'StableDiffusionImg2ImgPipeline'"),
        ({"pipeline": "AutoencoderKL"}, "no diffusers pipeline named"),
        ({"pipeline": "no.such.module:Class"}, "cannot be imported"),
        ({"call": {"guidence_scale": 3}}, "Did you mean 'guidance_scale'"),
        ({"knob": "strenght"}, "Did you mean 'strength'"),
        ({"knob": "strength", "fraction_of": "steps"}, "no argument of StableDiffusionImg2ImgPipeline named 'steps'"),
        ({"first": "invrt"}, "no method of StableDiffusionImg2ImgPipeline named 'invrt'"),
        ({"scheduler": "DDIMSheduler"}, "Did you mean 'DDIMScheduler'"),
        ({"scheduler": "DDIMScheduler", "scheduler_config": {"beta": 1}}, "no setting of DDIMScheduler named 'beta'"),
        ({"pipeline": "StableDiffusionXLImg2ImgPipeline"}, "cannot be made of tiny-sd1"),
        ({"model": ""}, "no model"),
        ({"model": "nowhere"}, "no model folder"),
    ],
)
def test_what_is_not_there_is_one_line_before_the_first_pair(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TedbenchError, match=message) as caught:
        Pipeline(**{**GOOD, **fields}).prepare()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnknownName | MethodError | UsageError)


def test_fraction_of_wants_a_number_of_steps(pair: EditPair) -> None:
    with pytest.raises(UsageError, match="no number of steps"):
        edits(make("img2img", fraction_of="guidance_scale"), pair, (0.5,))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_outside_is_refused(strength: float, pair: EditPair) -> None:
    with pytest.raises(UsageError, match="outside"):
        edits(make("img2img"), pair, (0.5, strength))
