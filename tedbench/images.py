"""The one place that opens, checks, converts and resizes images.

Rules, stated once:
- the content decides what a file is, not its name;
- EXIF orientation is applied; embedded colour profiles are ignored, as every published evaluation does;
- transparency is flattened onto white;
- 8-bit grayscale and palette images become RGB; 16-bit, float and CMYK ones are refused, since there is more than
  one way to bring them to 8-bit RGB and each gives another number;
- `fit` brings an image to size² by Pillow's antialiased bicubic filter: `crop` cuts the largest centred square
  first, `squash` ignores the aspect ratio.
"""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from tedbench.errors import ImageError, UsageError, short
from tedbench.types import ImageFile

Fit = Literal["crop", "squash"]
FILTER = "pillow-bicubic"
MAX_PIXELS = 64_000_000
MIN_SIDE = 16
PNG_LEVEL = 6
"""Of zlib, for every PNG that is written here; a run records it, since it moves the bytes and not the pixels."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
_REFUSED_MODES = {"I": "16- or 32-bit", "F": "floating-point", "CMYK": "CMYK", "LAB": "LAB", "HSV": "HSV"}


def sha256(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def file_from_path(path: Path, name: str | None = None) -> ImageFile:
    """Describe an image file on disk by its content.

    Raises:
        ImageError: if it cannot be read.
    """
    return ImageFile(name or path.name, sha256(_read_path(path, name or path.name)), path=path)


def read_bytes(image: ImageFile) -> bytes:
    """The encoded bytes of an image file.

    Raises:
        ImageError: if a file on disk is gone or is no longer what it was when it was listed.
    """
    if image.data is not None:
        return image.data
    if image.path is None:
        raise ImageError(f"{image.name}: no bytes and no path")
    data = _read_path(image.path, image.name)
    if sha256(data) != image.sha256:
        raise ImageError(f"{image.name}: the file changed since it was listed (sha256 differs); list or import it anew")
    return data


PNG = b"\x89PNG\r\n\x1a\n"
TOLD = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")
"""Chunks of a PNG that say something besides the picture (PNG specification, 11.3.4)."""


def decode(data: bytes, name: str) -> Image.Image:
    """Decode to an 8-bit RGB image under the rules at the top of this module.

    Args:
        data: encoded image, in one of `FORMATS`.
        name: for error messages.

    Raises:
        ImageError: for anything else, with the reason.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_header(opened, name, data)
            opened.load()
            upright = ImageOps.exif_transpose(opened)
    except ImageError:
        raise
    except Exception as error:  # decoders raise a zoo of types on damaged data
        raise ImageError(f"{name}: does not decode as an image ({_without_address(error)})") from error
    return _to_rgb(upright)


@functools.lru_cache(maxsize=16)
def read(image: ImageFile) -> Image.Image:
    """Read and decode; RGB, upright. The few last images are kept: do not write into them."""
    return decode(read_bytes(image), image.name)


@functools.lru_cache(maxsize=16)
def read_mask(image: ImageFile) -> Image.Image:
    """Read a mask as one-channel image: white (≥ 128) where the edit may change the picture."""
    return read(image).convert("L")


def fit(image: Image.Image, size: int, rule: Fit = "crop") -> Image.Image:
    """Bring an image to size×size.

    Args:
        image: any mode that Pillow resizes.
        size: side in pixels.
        rule: `crop` (largest centred square first) or `squash`.
    """
    check_fit(size, rule)
    if rule == "squash" or image.width == image.height:
        return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.BICUBIC)


def check_fit(size: int, rule: str) -> None:
    """Raise UsageError for a size or rule that `fit` does not know."""
    if not isinstance(size, int) or not MIN_SIDE <= size <= 4096:
        raise UsageError(f"size {size!r} is not a whole number of pixels from {MIN_SIDE} to 4096; try 256 or 512")
    if rule not in get_args(Fit):
        raise UsageError(f"no resize rule {rule!r}; known: {', '.join(get_args(Fit))}")


def frame(size: int, rule: str) -> str:
    """The part of a metric identity that says how images were brought to size: `256-crop-pillow-bicubic`."""
    return f"{size}-{rule}-{FILTER}"


def to_uint8(image: Image.Image) -> NDArray[np.uint8]:
    """An RGB image as (H, W, 3) uint8.

    Raises:
        ImageError: if it is not an 8-bit RGB Pillow image. Arrays are refused: their range and channel order cannot
            be told from their values, and a wrong guess gives a wrong number without an error.
    """
    if not isinstance(image, Image.Image):
        raise ImageError(f"expected a Pillow image, got {type(image).__name__}; arrays hide their range: use fromarray")
    if image.mode != "RGB":
        raise ImageError(f"expected an RGB image, got mode {image.mode!r}; open it with tedbench.images.read")
    return np.asarray(image, dtype=np.uint8)


def to_signed(image: Image.Image) -> NDArray[np.float32]:
    """An RGB image as (3, H, W) float32 in [-1, 1]; raises as `to_uint8`."""
    unit = to_uint8(image).astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(unit.transpose(2, 0, 1))


def encode_png(image: Image.Image) -> bytes:
    """Encode as PNG, lossless, without metadata, at `PNG_LEVEL`."""
    buffer = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(buffer, format="PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG does, whatever the file is called."""
    return data.startswith(PNG)


def is_bare_png(data: bytes) -> bool:
    """Whether the bytes are a PNG without texts and camera data: generators write prompts, paths and keys there."""
    at = len(PNG)
    while is_png(data) and at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind in TOLD:
            return False
        if kind == b"IEND":
            return at + 12 + size == len(data)
        at += 12 + size
    return False


def pixel_sha256(image: Image.Image) -> str:
    """Hex digest of size and pixels: equal for two encodings of one picture."""
    return sha256(f"{image.width}x{image.height}".encode() + to_uint8(image).tobytes())


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings of bombs and odd metadata; sizes are checked here."""
    # catch_warnings is global to the process: threads that use it restore each other's filters. Whoever decodes in
    # another thread sets the filter around it (scoring does).
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_path(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror or error})") from error


def _check_header(image: Image.Image, name: str, data: bytes) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"{name}: {width}×{height} is over {MAX_PIXELS // 10**6} megapixels; resize it first")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{name}: {width}×{height} is too narrow; each side needs at least {MIN_SIDE} px")
    kind = next((kind for mode, kind in _REFUSED_MODES.items() if image.mode.split(";")[0] == mode), None)
    if kind is None and _depth(image, data) > 8:
        kind = "16-bit"
    if kind:
        raise ImageError(f"{name}: {kind} image; convert it to 8-bit RGB first, there is more than one way to")


def _depth(image: Image.Image, data: bytes) -> int:
    # Pillow reads 16-bit RGB files as 8-bit "RGB"; only the header still tells.
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))))
    return data[24] if is_png(data) and len(data) > 24 else 8  # PNG specification, IHDR


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else Image.fromarray(np.asarray(image))


def _without_address(error: Exception) -> str:
    # Pillow names the BytesIO object by its address, which changes from run to run.
    text = short(error, 120)
    return "not a known image format" if "BytesIO" in text else text
