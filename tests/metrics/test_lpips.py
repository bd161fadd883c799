"""LPIPS: equal to the package, blind inside the mask, and told apart from every usual mistake."""

from __future__ import annotations

import io
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tedbench import images
from tedbench.errors import ImageError, MetricError, NetworkError, UsageError
from tedbench_metrics import lpips as ours
from tedbench_metrics.lpips import LpipsAlex, LpipsSqueeze, LpipsVgg

# What the package itself says of the drawings of these seeds, at their own 96².
GOLDEN = {(1, 2): 0.512749, (3, 4): 0.526994, (5, 6): 0.450326}
RELEASED = Path(__file__).parents[3] / "shared/data/tedbench"


@pytest.fixture(scope="module")
def package():
    """The reference: the package alone, with the weights that ship."""
    import lpips
    from safetensors.torch import load_file

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        model.net.load_state_dict(load_file(ours.ALEX))
        maps = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False, spatial=True)
        maps.net.load_state_dict(load_file(ours.ALEX))
    return model, maps


def signed(image: Image.Image, size: int) -> torch.Tensor:
    small = image.resize((size, size), Image.Resampling.BICUBIC) if image.size != (size, size) else image
    return torch.from_numpy(np.asarray(small).astype(np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]


def reference(model, a, b, size):
    with torch.no_grad():
        return model(signed(a, size), signed(b, size)).item()


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("size", [64, 100, 256])
def test_equals_the_package(package, drawn, pair_of, batch, size):
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (90, 90, 3), np.uint8)) for _ in range(2)]
    sources = [drawn(1), noise[0], drawn(1), drawn(3), drawn(1), noise[0]]
    edits = [drawn(2), noise[1], noise[1], drawn(4), drawn(5, (130, 130)), drawn(6)]
    got = LpipsAlex(size=size, batch=batch).score([pair_of(s) for s in sources], edits)
    want = [reference(package[0], s, e, size) for s, e in zip(sources, edits, strict=True)]
    assert got == pytest.approx(want, abs=1e-5)


def test_outside_equals_the_packages_map(package, drawn, pair_of, half_mask):
    a, b = drawn(1), drawn(2)
    got = LpipsAlex(size=96, region="outside").score([pair_of(a, half_mask)], [b])[0]
    both = Image.fromarray(np.where(np.asarray(half_mask)[..., None] >= 128, np.asarray(a), np.asarray(b)))
    with torch.no_grad():
        maps = package[1](signed(a, 96), signed(both, 96))[0, 0]
    assert got == pytest.approx(maps[torch.from_numpy(np.asarray(half_mask) < 128)].mean().item(), abs=1e-5)
    assert got > 0.01


@pytest.mark.parametrize("size", [64, 96, 128])
def test_inside_cannot_move_the_number(drawn, pair_of, half_mask, size):
    pair, edit = pair_of(drawn(1), half_mask), drawn(2)
    other = edit.copy()
    other.paste(drawn(9).crop((0, 0, 37, 96)), (0, 0))
    metric = LpipsAlex(size=size, region="outside")
    assert metric.score([pair], [edit]) == metric.score([pair], [other])
    assert LpipsAlex(size=size).score([pair], [edit]) != LpipsAlex(size=size).score([pair], [other])


def test_mask_is_needed_and_must_leave_something(drawn, pair_of):
    metric = LpipsAlex(size=64, region="outside")
    assert metric.needs == {"mask"}
    with pytest.raises(MetricError, match="no mask"):
        metric.score([pair_of(drawn(1))], [drawn(2)])


def test_equal_pictures_are_at_zero(drawn, pair_of, half_mask):
    image = drawn(1)
    assert LpipsAlex(size=96).score([pair_of(image)], [image]) == [pytest.approx(0, abs=1e-9)]
    assert LpipsAlex(size=96, region="outside").score([pair_of(image, half_mask)], [image])[0] < 1e-9


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4), (5, 6)])
def test_golden(drawn, pair_of, seeds):
    value = LpipsAlex(size=96).score([pair_of(drawn(seeds[0]))], [drawn(seeds[1])])[0]
    assert value == pytest.approx(GOLDEN[seeds], abs=1e-4)


MUTANTS = {
    "negative": lambda x: -x,
    "unit range": lambda x: (x + 1) / 2,
    "uint8 wraps": lambda x: ((((x + 1) * 127.5).round().astype(np.uint8) * np.uint8(255)) / 127.5 - 1).astype("f4"),
    "channels swapped": lambda x: x[::-1].copy(),
    "rescaled twice": lambda x: (((x + 1) / 2) / 255 * 2 - 1).astype("f4"),
}


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4), (5, 6)])
@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_miss_the_golden_value(monkeypatch, drawn, pair_of, name, seeds):
    right = images.to_signed
    monkeypatch.setattr(images, "to_signed", lambda image: MUTANTS[name](right(image)))
    value = LpipsAlex(size=96).score([pair_of(drawn(seeds[0]))], [drawn(seeds[1])])[0]
    assert abs(value - GOLDEN[seeds]) > 1e-3


def test_arrays_and_other_modes_are_refused(drawn, pair_of):
    pair, edit = pair_of(drawn(1)), drawn(2)
    for wrong in (np.asarray(edit), edit.convert("RGBA"), edit.convert("L"), Image.new("I;16", (96, 96))):
        with pytest.raises(ImageError, match="expected"):
            LpipsAlex(size=64).score([pair], [wrong])
    with pytest.raises(MetricError, match="1 pairs but 2 images"):
        LpipsAlex(size=64).score([pair], [edit, edit])


def png(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return images.decode(buffer.getvalue(), "x.png")


def test_decoding_gives_one_number_per_picture(drawn, pair_of):
    source, gray = drawn(1), drawn(2).convert("L")
    opaque = drawn(2).convert("RGBA")
    clear = opaque.copy()
    clear.paste((200, 10, 10, 0), (0, 0, 40, 96))
    white = drawn(2)
    white.paste((255, 255, 255), (0, 0, 40, 96))
    edits = [png(gray), Image.merge("RGB", [gray] * 3), png(opaque), drawn(2), png(clear), white]
    v = LpipsAlex(size=64, batch=1).score([pair_of(source)] * 6, edits)
    assert v[0] == v[1] and v[2] == v[3] and v[4] == v[5] and len(set(v)) == 3
    with pytest.raises(ImageError, match="16-"):
        png(Image.new("I;16", (96, 96)))


def test_a_backbone_of_ones_own(tmp_path, drawn, pair_of):
    from safetensors.torch import load_file, save_file

    state = load_file(ours.ALEX)
    name = "slice1.0.weight"
    save_file({**state, name: state[name].flip(0)}, tmp_path / "own.safetensors")
    own = LpipsAlex(size=64, backbone=str(tmp_path / "own.safetensors"))
    assert own.identity != LpipsAlex(size=64).identity and "/backbone-" in own.identity
    assert own.facts["backbone"] == f"alex-custom-{own.identity[-8:]}" and own.facts["custom"] == "yes"
    assert LpipsAlex().facts["backbone"] == "alex" and LpipsAlex().facts["custom"] != "yes"
    case = [pair_of(drawn(1))], [drawn(2)]
    assert own.score(*case) != LpipsAlex(size=64).score(*case)
    save_file({name: state[name]}, tmp_path / "part.safetensors")
    with pytest.raises(MetricError, match="no alex"):
        LpipsAlex(size=64, backbone=str(tmp_path / "part.safetensors")).score(*case)
    with pytest.raises(MetricError, match="cannot be read"):
        _ = LpipsAlex(backbone=str(tmp_path / "none.safetensors")).identity


@pytest.mark.parametrize("cls", [LpipsSqueeze, LpipsVgg])
def test_torchvision_weights_are_checked_and_asked_for(monkeypatch, tmp_path, drawn, pair_of, cls):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    metric, case = cls(size=64), ([pair_of(drawn(1))], [drawn(2)])
    with pytest.raises(NetworkError, match=r"put .*\.pth into") as caught:
        metric.score(*case)
    assert "\n" not in str(caught.value)
    name = str(caught.value).split()[0]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / name).write_bytes(b"not the weights")
    with pytest.raises(MetricError, match="damaged"):
        metric.score(*case)


@pytest.mark.parametrize("net", ["squeeze", "vgg"])
def test_torchvision_keys_map_to_the_packages(monkeypatch, net):
    """A random torchvision network through our mapping gives the features of the package's own slices."""
    import torchvision.models as tv

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        full = (tv.squeezenet1_1 if net == "squeeze" else tv.vgg16)(weights=None).eval()
    monkeypatch.setattr(ours, "_torchvision_file", lambda _net: Path("unused"))
    monkeypatch.setattr(torch, "load", lambda *a, **k: full.state_dict())
    state_of = ours.load.__wrapped__(net, None, "", "cpu")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        last = state_of.net(x)[-1]
        deep = full.features[: 13 if net == "squeeze" else 30](x)
    assert torch.allclose(last, deep, atol=1e-5)


@pytest.mark.parametrize("cls", [LpipsAlex, LpipsVgg, LpipsSqueeze])
def test_smallest_size_is_the_packages_own(cls):
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        package = lpips.LPIPS(net=cls.net, pnet_rand=True, verbose=False).eval()
    x, small = torch.rand(1, 3, cls.smallest, cls.smallest), cls.smallest - 1
    with torch.no_grad():
        assert package(x, x.flip(3)).isfinite().all()
        with pytest.raises(RuntimeError):
            package(x[..., :small, :small], x[..., :small, :small])
    assert cls(size=cls.smallest).size == cls.smallest
    hint = f"at least {cls.smallest}" if small >= images.MIN_SIDE else f"from {images.MIN_SIDE} "
    with pytest.raises(UsageError, match=hint):
        cls(size=small)


def test_shipped_weights_are_the_ones_we_say(tmp_path, monkeypatch):
    import hashlib

    assert hashlib.sha256(ours.ALEX.read_bytes()).hexdigest() == ours.ALEX_SHA256
    assert ours.ALEX_SHA256 in (ours.ALEX.parent / "README.md").read_text()
    shutil.copy(ours.ALEX, tmp_path / "w.safetensors")
    with (tmp_path / "w.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0\1")
    monkeypatch.setattr(ours, "ALEX", tmp_path / "w.safetensors")
    with pytest.raises(MetricError, match="sha256 differs"):
        ours.load.__wrapped__("alex", None, "", "cpu")


def test_what_makes_no_sense_is_refused():
    for wrong in ({"size": 3}, {"size": 16}, {"device": "gpu"}, {"fit": "stretch"}, {"region": "inside"}, {"batch": 0}):
        with pytest.raises(UsageError):
            LpipsAlex(**wrong)


def released() -> list[tuple[Path, Path]]:
    originals = sorted((RELEASED / "originals").iterdir())
    results = sorted((RELEASED / "imagic").glob("*.png"))
    return [(next(o for o in originals if file.name.startswith(o.name + "-")), file) for file in results]


@pytest.mark.slow
@pytest.mark.skipif(not RELEASED.is_dir(), reason="the released images are not beside this checkout")
@pytest.mark.parametrize("size", [256, 512])
def test_released_results_equal_the_package(package, pair_of, size):
    cases = [(images.decode(a.read_bytes(), a.name), images.decode(b.read_bytes(), b.name)) for a, b in released()]
    assert len(cases) >= 30
    got = LpipsAlex(size=size).score([pair_of(a) for a, _ in cases], [b for _, b in cases])
    want = [reference(package[0], images.fit(a, size), images.fit(b, size), size) for a, b in cases]
    assert got == pytest.approx(want, abs=1e-5)
