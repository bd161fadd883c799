"""Every quirk a picture file can have, against arithmetic of our own."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tedbench import images
from tedbench.errors import ImageError, UsageError
from tedbench.types import ImageFile

Pixels = NDArray[np.uint8]


def noise(height: int = 24, width: int = 40, channels: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels)).astype(np.uint8)


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def decoded(data: bytes) -> Pixels:
    image = images.decode(data, "picture.png")
    assert image.mode == "RGB"
    return images.to_uint8(image)


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG written by hand, with nothing but the three chunks it must have."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# --- what a file is -------------------------------------------------------------------------------------------------


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    data = encode(Image.fromarray(noise()), "JPEG", quality=95)
    (tmp_path / "bird.png").write_bytes(data)
    file = images.file_from_path(tmp_path / "bird.png")
    assert not images.is_png(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(images.to_uint8(images.read(file)), expected)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_give_their_pixels(form: str) -> None:
    assert np.array_equal(decoded(encode(Image.fromarray(noise()), form)), noise())


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
def test_transparency_is_flattened_onto_white(alpha: int) -> None:
    rgb = noise()
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], alpha, np.uint8)])
    expected = (rgb.astype(float) * alpha + 255.0 * (255 - alpha)) / 255
    off = np.abs(decoded(encode(Image.fromarray(rgba))) - expected)
    assert off.max() <= (0 if alpha in (0, 255) else 0.51)  # rounded to a whole number, no more


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_gray_with_alpha_is_flattened_too(alpha: int) -> None:
    gray = noise(channels=1)
    la = Image.fromarray(np.dstack([gray, np.full_like(gray, alpha)]))
    assert la.mode == "LA"
    expected = (gray.astype(float) * alpha + 255.0 * (255 - alpha)) / 255
    assert np.abs(decoded(encode(la)) - expected).max() <= 0.51


def test_a_transparent_palette_entry_becomes_white() -> None:
    index = noise(channels=1)[..., 0] % 3
    image = Image.fromarray(index)
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0], "RGB")
    table = np.array([[255, 255, 255], [200, 0, 0], [0, 200, 0]])
    assert np.array_equal(decoded(encode(image, transparency=0)), table[index])
    table[0] = 10, 20, 30
    assert np.array_equal(decoded(encode(image)), table[index])


def test_a_transparent_colour_of_an_rgb_png_becomes_white() -> None:
    rgb = np.full((20, 20, 3), (10, 20, 30), np.uint8)
    rgb[:10] = 1, 2, 3
    got = decoded(encode(Image.fromarray(rgb), transparency=(1, 2, 3)))
    assert (got[:10] == 255).all()
    assert (got[10:] == (10, 20, 30)).all()


def test_gray_is_repeated_in_three_channels() -> None:
    gray = noise(channels=1)
    assert np.array_equal(decoded(encode(Image.fromarray(gray[..., 0]))), np.repeat(gray, 3, axis=2))


def test_black_and_white_becomes_0_and_255() -> None:
    bits = noise(channels=1) > 127
    got = decoded(encode(Image.fromarray(bits[..., 0])))
    assert np.array_equal(got, np.repeat(bits, 3, axis=2) * np.uint8(255))


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (decoded(data) == (255, 0, 0)).all()


def _deep_tiff() -> bytes:
    # Little-endian TIFF: a header, one directory of ten entries, BitsPerSample, then 16×16 RGB of 16 bits.
    at_bits = 8 + 2 + 10 * 12 + 4
    tags = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 3, at_bits), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, at_bits + 6), (277, 3, 1, 3), (278, 3, 1, 16), (279, 4, 1, 1536), (284, 3, 1, 1)]
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    bits = struct.pack("<HHH", 16, 16, 16)
    return b"II*\0" + struct.pack("<IH", 8, 10) + directory + bytes(4) + bits + bytes(range(256)) * 6


DEEP = {
    "gray 16": encode(Image.fromarray(noise(channels=1)[..., 0].astype(np.uint16) * 257)),
    "rgb 16": png(16, 16, 16, 2, (b"\0" + bytes(range(96))) * 16),
    "rgba 16": png(16, 16, 16, 6, (b"\0" + bytes(range(128))) * 16),
    "gray and alpha 16": png(16, 16, 16, 4, (b"\0" + bytes(range(64))) * 16),
    "tiff rgb 16": _deep_tiff(),
    "tiff gray 32": encode(Image.fromarray(noise(channels=1)[..., 0].astype(np.int32)), "TIFF"),
    "float": encode(Image.fromarray(noise(channels=1)[..., 0].astype(np.float32)), "TIFF"),
    "cmyk": encode(Image.fromarray(noise()).convert("CMYK"), "JPEG"),
    "cmyk tiff": encode(Image.fromarray(noise()).convert("CMYK"), "TIFF"),
}


@pytest.mark.parametrize("data", DEEP.values(), ids=DEEP.keys())
def test_what_has_more_than_one_way_to_8_bit_rgb_is_refused(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()  # Pillow would take it
    with pytest.raises(ImageError, match="convert it to 8-bit RGB first"):
        images.decode(data, "deep.png")


def test_the_hand_written_png_is_a_good_one() -> None:
    rows = noise(16, 16)
    data = png(16, 16, 8, 2, b"".join(b"\0" + row.tobytes() for row in rows))
    assert np.array_equal(decoded(data), rows)


UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(noise()), form, exif=exif)
    assert np.array_equal(decoded(data), UPRIGHT[orientation](noise()))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_of_a_jpeg_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = decoded(encode(Image.fromarray(noise()), "JPEG"))
    data = encode(Image.fromarray(noise()), "JPEG", exif=exif)
    assert np.array_equal(decoded(data), UPRIGHT[orientation](plain))


# --- what is refused ------------------------------------------------------------------------------------------------

WHOLE = {form: encode(Image.fromarray(noise(64, 64)), form) for form in ("PNG", "JPEG")}
BAD = {
    "empty": (b"", "empty"),
    "text": (b"this is no picture\n" * 10, "not a known image format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a known image format"),
    "half a PNG": (WHOLE["PNG"][: len(WHOLE["PNG"]) // 2], "does not decode"),
    "half a JPEG": (WHOLE["JPEG"][: len(WHOLE["JPEG"]) // 2], "does not decode"),
    "a PNG's head": (WHOLE["PNG"][:20], "a.png: "),
    "40000×1": (encode(Image.new("RGB", (40000, 1))), "40000×1 is too narrow"),
    "15×15": (encode(Image.new("RGB", (15, 15))), "at least 16 px"),
    "bomb": (png(60000, 60000, 8, 2, bytes(100)), "a.png: "),
    "small bomb": (png(9000, 9000, 8, 2, bytes(100)), "9000×9000 is over 64 megapixels"),
}


@pytest.mark.parametrize(("data", "says"), BAD.values(), ids=BAD.keys())
def test_what_is_no_picture_says_so_in_one_line(data: bytes, says: str) -> None:
    with pytest.raises(ImageError) as caught:
        images.decode(data, "a.png")
    text = str(caught.value)
    assert text.startswith("a.png: ")
    assert says in text
    assert "\n" not in text
    assert "0x" not in text


def _never_another_error(data: bytes) -> None:
    try:
        image = images.decode(data, "a.png")
    except ImageError as error:
        assert str(error).startswith("a.png: ")
    else:
        assert image.mode == "RGB"
        assert min(image.size) >= images.MIN_SIDE


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_image_errors(data: bytes) -> None:
    _never_another_error(data)


SOUND = [encode(Image.fromarray(noise(16, 16)), form) for form in images.FORMATS]
SOUND += [encode(Image.fromarray(noise(16, 16)).convert(mode)) for mode in ("P", "LA", "RGBA", "L", "1")]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=300)
@given(st.sampled_from(SOUND), st.data())
def test_damaged_pictures_raise_nothing_but_image_errors(sound: bytes, draw: st.DataObject) -> None:
    data = bytearray(sound[: draw.draw(st.integers(1, len(sound)))])
    for at, value in draw.draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=8)):
        data[at] = value
    _never_another_error(bytes(data))


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_file_that_changed_since_it_was_listed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.new("RGB", (20, 20), "red")))
    file = images.file_from_path(path)
    path.write_bytes(encode(Image.new("RGB", (20, 20), "blue")))
    with pytest.raises(ImageError, match="changed since it was listed"):
        images.read(file)
    path.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        images.read(file)


def test_a_file_is_read_from_memory_or_disk_alike(tmp_path: Path) -> None:
    data = encode(Image.fromarray(noise()))
    (tmp_path / "a.png").write_bytes(data)
    file = images.file_from_path(tmp_path / "a.png", name="called.png")
    assert (file.name, file.sha256) == ("called.png", images.sha256(data))
    assert images.read_bytes(ImageFile("called.png", file.sha256, data=data)) == images.read_bytes(file) == data
    with pytest.raises(ImageError, match="no bytes and no path"):
        images.read_bytes(ImageFile("called.png", file.sha256))
    with pytest.raises(ImageError, match="cannot be read"):
        images.file_from_path(tmp_path)


def test_a_mask_has_one_channel() -> None:
    data = encode(Image.fromarray(noise(channels=1)[..., 0]))
    mask = images.read_mask(ImageFile("mask.png", images.sha256(data), data=data))
    assert mask.mode == "L"
    assert np.array_equal(np.asarray(mask), noise(channels=1)[..., 0])


# --- size and range -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(1045, 1046), (300, 200), (200, 301), (256, 256)])
def test_fit_is_pillows_bicubic(width: int, height: int) -> None:
    image = Image.fromarray(noise(height, width))
    side = min(width, height)
    box = ((width - side) // 2, (height - side) // 2, (width - side) // 2 + side, (height - side) // 2 + side)
    cubic = Image.Resampling.BICUBIC
    cut = Image.fromarray(noise(height, width)[box[1] : box[3], box[0] : box[2]])
    assert images.fit(image, 256, "crop").tobytes() == cut.resize((256, 256), cubic).tobytes()
    assert images.fit(image, 256, "squash").tobytes() == image.resize((256, 256), cubic).tobytes()
    assert np.array_equal(np.asarray(image), noise(height, width))


@pytest.mark.parametrize(
    ("size", "rule"), [(15, "crop"), (4097, "crop"), (25.6, "crop"), ("256", "crop"), (256, "pad")]
)
def test_a_size_or_rule_that_is_none_is_refused(size: int, rule: str) -> None:
    with pytest.raises(UsageError):
        images.fit(Image.new("RGB", (20, 20)), size, rule)  # type: ignore[arg-type]


def test_signed_runs_from_minus_one_to_one_and_back_exactly() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.dstack([ramp, ramp.T, 255 - ramp])
    signed = images.to_signed(Image.fromarray(rgb))
    assert signed.shape == (3, 16, 16)
    assert signed.dtype == np.float32
    assert signed.flags["C_CONTIGUOUS"]
    assert (signed.min(), signed.max()) == (-1.0, 1.0)
    assert np.array_equal(np.rint((signed.transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8), rgb)
    assert np.allclose(signed[0], ramp / 255.0 * 2 - 1, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [noise(), noise() / 255.0, "a.png", Image.new("L", (20, 20)), Image.new("RGBA", (9, 9))]
)
def test_what_hides_its_range_is_refused(wrong: object) -> None:
    with pytest.raises(ImageError, match="expected a"):
        images.to_uint8(wrong)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="expected a"):
        images.to_signed(wrong)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=25)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 2**32 - 1))
@example(16, 16, 0)
def test_a_png_of_ours_is_lossless(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    data = images.encode_png(Image.fromarray(pixels))
    assert images.is_png(data)
    assert np.array_equal(decoded(data), pixels)


def test_the_level_of_a_png_is_stated_and_is_the_usual_one() -> None:
    """Bytes of runs made before it was stated are the same."""
    picture = Image.fromarray(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)).convert("RGB")
    data = images.encode_png(picture)
    assert data == encode(picture) == encode(picture, compress_level=images.PNG_LEVEL)
    assert data != encode(picture, compress_level=1)


def test_a_png_of_ours_carries_pixels_only() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    tagged = Image.open(io.BytesIO(encode(Image.fromarray(noise()), exif=exif, dpi=(72, 72), icc_profile=b"profile")))
    data, kinds, at = images.encode_png(tagged), [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kinds.append(data[at + 4 : at + 8])
        at += length + 12
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}
    assert Image.open(io.BytesIO(data)).info == {}


def test_pixels_alone_make_the_pixel_digest() -> None:
    image = Image.fromarray(noise())
    assert images.pixel_sha256(image) == images.pixel_sha256(images.decode(encode(image, "BMP"), "a.bmp"))
    turned = Image.fromarray(noise().reshape(40, 24, 3))  # the same bytes in another shape
    assert images.pixel_sha256(image) != images.pixel_sha256(turned)


# --- TEdBench as released -------------------------------------------------------------------------------------------


def test_the_40_originals_decode(real_data: Path) -> None:
    paths = sorted((real_data / "originals").iterdir())
    assert len(paths) == 40
    rgba = []
    for path in paths:
        got = images.decode(path.read_bytes(), path.name)
        with Image.open(path) as opened:
            assert got.size == opened.size
            if opened.mode == "RGBA":
                rgba.append(path.stem)
                pixels = np.asarray(opened)
                assert (pixels[..., 3] == 255).all()
                assert np.array_equal(images.to_uint8(got), pixels[..., :3])
    assert rgba == ["dog2_standing", "drinking_horse", "pizza1", "prague", "road1", "white_horse1", "white_horse2"]


def test_bird_png_is_a_jpeg(real_data: Path) -> None:
    bird, twin = ((real_data / "originals" / name).read_bytes() for name in ("bird.png", "bird.jpeg"))
    assert not images.is_png(bird)
    assert bird == twin
