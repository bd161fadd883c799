"""PSNR and SSIM against their definitions and scikit-image; the inside of a mask cannot move them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from tedbench import images
from tedbench.errors import ImageError, MetricError, UsageError
from tedbench_metrics.pixels import Psnr, Ssim

SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": 2}


def test_whole_pictures_as_scikit_image(drawn, pair_of):
    a, b = drawn(1), drawn(2)
    assert Psnr(size=96).score([pair_of(a)], [b])[0] == pytest.approx(
        peak_signal_noise_ratio(np.asarray(a), np.asarray(b), data_range=255), abs=1e-9
    )
    assert Ssim(size=96).score([pair_of(a)], [b])[0] == pytest.approx(
        structural_similarity(np.asarray(a), np.asarray(b), **SSIM), abs=1e-9
    )


def test_outside_by_hand(drawn, pair_of, half_mask):
    a, b, inside = drawn(1), drawn(2), np.asarray(half_mask) >= 128
    x, y = np.asarray(a).astype(float), np.asarray(b).astype(float)
    mse = ((x - y) ** 2)[~inside].mean()
    assert Psnr(size=96, region="outside").score([pair_of(a, half_mask)], [b])[0] == pytest.approx(
        10 * math.log10(255**2 / mse), abs=1e-9
    )
    filled = np.where(inside[..., None], np.asarray(a), np.asarray(b))
    full = structural_similarity(np.asarray(a), filled, full=True, **SSIM)[1]
    assert Ssim(size=96, region="outside").score([pair_of(a, half_mask)], [b])[0] == pytest.approx(
        full[~inside].mean(), abs=1e-9
    )


@pytest.mark.parametrize("cls", [Psnr, Ssim])
@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize(
    ("frame", "edit_size"), [((96, 96), (96, 96)), ((120, 96), (120, 96)), ((120, 96), (150, 120))]
)
@pytest.mark.parametrize("size", [50, 96, 200])
def test_inside_cannot_move_the_number(drawn, pair_of, cls, fit, frame, edit_size, size):
    mask = Image.new("L", frame, 0)
    mask.paste(255, (0, 0, frame[0] // 2, frame[1]))
    pair, edit = pair_of(drawn(1, frame), mask), drawn(2, edit_size)
    other = edit.copy()
    other.paste((255, 0, 255), (0, 0, edit_size[0] // 2, edit_size[1]))
    metric = cls(size=size, fit=fit, region="outside")
    assert metric.score([pair], [edit]) == metric.score([pair], [other])
    assert cls(size=size, fit=fit).score([pair], [edit]) != cls(size=size, fit=fit).score([pair], [other])
    edit.paste((255, 0, 255), (edit_size[0] * 3 // 4, 0, *edit_size))
    assert metric.score([pair], [edit]) != metric.score([pair], [other]), "the outside still counts"


def test_equal_pictures(drawn, pair_of, half_mask):
    image = drawn(1)
    assert Psnr(size=96).score([pair_of(image)], [image]) == [math.inf]
    assert Ssim(size=96).score([pair_of(image)], [image]) == [1.0]
    edit = image.copy()
    edit.paste((0, 0, 0), (0, 0, 37, 96))
    assert Psnr(size=96, region="outside").score([pair_of(image, half_mask)], [edit]) == [math.inf]


@pytest.mark.parametrize("cls", [Psnr, Ssim])
def test_the_smallest_size_there_is_works(drawn, pair_of, half_mask, cls):
    for region in ("all", "outside"):
        metric = cls(size=images.MIN_SIDE, region=region)
        assert math.isfinite(metric.score([pair_of(drawn(1), half_mask)], [drawn(2)])[0])
    with pytest.raises(UsageError, match=f"from {images.MIN_SIDE} "):
        cls(size=images.MIN_SIDE - 1)


def test_mask_is_needed(drawn, pair_of):
    for cls in (Psnr, Ssim):
        assert cls().needs == set() and cls(region="outside").needs == {"mask"}
        with pytest.raises(MetricError, match="no mask"):
            cls(region="outside").score([pair_of(drawn(1))], [drawn(2)])
        with pytest.raises(ImageError):
            cls().score([pair_of(drawn(1))], [np.asarray(drawn(2))])
