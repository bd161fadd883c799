"""Pictures of a study: compared, and scrambled for checks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tedbench.study import pictures


def drawn(side: int = 64) -> Image.Image:
    y, x = np.mgrid[:side, :side] / side
    sky = np.stack([0.4 + 0.3 * y, 0.6 + 0.2 * y, 0.9 - 0.3 * y], axis=2)
    disc = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.09)[..., None]
    return Image.fromarray((255 * np.where(disc, [0.8, 0.1, 0.1], sky)).astype(np.uint8))


@pytest.mark.parametrize("side", [16, 64, 100, 513])
def test_a_difference_in_one_corner_counts_where_it_is(side: int) -> None:
    one = np.full((side, side, 3), 100, np.uint8)
    other = one.copy()
    other[: side // 8, : side // 8] += 51
    found = pictures.difference(Image.fromarray(one), Image.fromarray(other))
    assert found.mean == pytest.approx(0.2 * (side // 8) ** 2 / side**2)
    assert found.most == pytest.approx(0.2)
    assert found.flag == ""


def test_near_is_near_everywhere() -> None:
    one = np.full((64, 64, 3), 100, np.uint8)
    assert pictures.difference(Image.fromarray(one), Image.fromarray(one)).flag == "identical"
    assert pictures.difference(Image.fromarray(one), Image.fromarray(one + 3)).flag == "near"
    hat = one.copy()
    hat[8:14, 20:30] = 160  # 1.5% of the picture: an edit like any other
    assert pictures.difference(Image.fromarray(one), Image.fromarray(hat)).flag == ""


def test_a_scrambled_picture_has_the_same_tiles_elsewhere() -> None:
    picture = drawn()
    found = pictures.scrambled(picture, np.random.default_rng(0))
    assert found is not None
    assert found.size == picture.size

    def tiles(of: Image.Image) -> list[bytes]:
        pixels = np.asarray(of)
        cut = [pixels[r : r + 8, c : c + 8] for r in range(0, 64, 8) for c in range(0, 64, 8)]
        return sorted(min(np.rot90(one, k).tobytes() for k in range(4)) for one in cut)

    assert tiles(found) == tiles(picture)
    assert np.asarray(found).tobytes() != np.asarray(picture).tobytes()


def test_where_disorder_does_not_show_there_is_no_check() -> None:
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    plain = Image.fromarray(np.full((64, 64, 3), 90, np.uint8))
    assert pictures.scrambled(noise, rng) is None
    assert pictures.scrambled(plain, rng) is None


def test_the_side_is_the_shortest_of_any() -> None:
    assert pictures.side([(512, 512), (600, 300), (1024, 768)]) == 300
