"""Pairs, and tiny random models, in memory and saved in diffusers' format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tedbench import images
from tedbench.types import EditPair, ImageFile

TINY = ("tiny-sd1", "tiny-sd2", "tiny-sdxl")


def make_pair(uid: str = "a--sits", size: tuple[int, int] = (90, 80), **fields: object) -> EditPair:
    """A pair about a drawn picture; another uid gives another picture."""
    rng = np.random.default_rng(len(uid) + ord(uid[0]))
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / max(size)
    base = np.stack([x, y, 1 - x], -1) * rng.uniform(60, 255, 3)
    base[10:30, 20:50] = rng.uniform(0, 255, 3)
    data = images.encode_png(Image.fromarray(base.clip(0, 255).astype(np.uint8)))
    file = ImageFile(f"{uid}.png", images.sha256(data), data=data)
    texts = {"target_text": "A photo of a sitting dog.", "source_text": "A photo of a dog.", **fields}
    return EditPair(uid=uid, image=file, image_id=file.name, **texts)


@pytest.fixture
def pair() -> EditPair:
    return make_pair()


@pytest.fixture(scope="session")
def pair_of() -> Callable[..., EditPair]:
    return make_pair


@pytest.fixture(params=TINY)
def tiny_name(request: pytest.FixtureRequest) -> str:
    """Each kind of model that a backbone exists for."""
    return str(request.param)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model, saved as diffusers saves one."""
    from tedbench_methods.backbones import tiny

    home = tmp_path_factory.mktemp("models")

    def save(name: str) -> Path:
        if not (home / name).exists():
            tiny.pipeline(name).save_pretrained(home / name, safe_serialization=True)
        return home / name

    return save
