"""Training pictures of the toy world and texts about them: all that training sees of it.

Pictures are drawn once, by a few processes, into a memory-mapped file; what a stop left undone is drawn next time.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from tedbench.datasets import toy, toy_captions

SIDE: int = toy.SIDE
WORDS: tuple[str, ...] = toy_captions.WORDS
PART = "generator"
_CHUNK = 256
_STYLE = "photo"
Pictures = NDArray[np.uint8]


def cached(folder: Path, count: int, processes: int = 2) -> Pictures:
    """The first `count` pictures of the generator's part.

    Args:
        folder: where the file is kept; its name tells this world from one drawn otherwise.
        count: of pictures.
        processes: that draw.

    Returns:
        Read-only, (count, 64, 64, 3), RGB.
    """
    file, flags = (folder / f"pictures-{fingerprint()}-{count}{suffix}.npy" for suffix in ("", "-done"))
    chunks = math.ceil(count / _CHUNK)
    pictures = _mapped(file, (count, SIDE, SIDE, 3))
    done = _mapped(flags, (chunks,))
    missing = [chunk for chunk in range(chunks) if not done[chunk]]
    for chunk, drawn in tqdm(_drawn(missing, count, processes), "pictures", len(missing), disable=None):
        pictures[chunk * _CHUNK : chunk * _CHUNK + len(drawn)] = drawn
        done[chunk] = 1
    pictures.flags.writeable = False
    return pictures


def draw(index: int) -> Pictures:
    """One picture of the generator's part, (64, 64, 3)."""
    return np.asarray(toy.draw(*toy.sample(PART, index)), np.uint8)


def caption(index: int, rng: np.random.Generator) -> str:
    """A random text about a picture."""
    return told(index, rng)[-1]


def told(index: int, rng: np.random.Generator) -> tuple[toy.Scene, list[str], str]:
    """A picture's scene, the attributes that a random text about it names, and the text.

    How much it says is drawn first, then which attributes those are: texts that name the subject only are as common
    as texts that name everything.
    """
    chance = rng.random()
    mention = [name for name in toy.ATTRIBUTES if name == "subject" or rng.random() < chance]
    wording = int(rng.integers(toy_captions.WORDINGS[_STYLE]))
    return _scene(index), mention, toy_captions.caption(_scene(index), mention, wording, _STYLE)


@cache
def fingerprint() -> str:
    """Eight hex digits that change when the world does: how it is drawn, sampled or spoken of."""
    digest = hashlib.sha256(" ".join(WORDS).encode())
    for index in range(16):
        digest.update(draw(index).tobytes() + caption(index, np.random.default_rng(index)).encode())
    return digest.hexdigest()[:8]


@cache
def _scene(index: int) -> toy.Scene:
    return toy.sample(PART, index)[0]


def _drawn(chunks: list[int], count: int, processes: int) -> Iterator[tuple[int, Pictures]]:
    """Chunks in the order in which they are ready; no process is started for one chunk."""
    work = partial(_chunk, count)
    if processes < 2 or len(chunks) < 2:
        yield from map(work, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(work, chunks)


def _chunk(count: int, chunk: int) -> tuple[int, Pictures]:
    return chunk, np.stack([draw(index) for index in range(chunk * _CHUNK, min(count, (chunk + 1) * _CHUNK))])


def _mapped(file: Path, shape: tuple[int, ...]) -> Pictures:
    """A writable file of zeros, or the one that is there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mode, wanted = ("r+", None) if file.exists() else ("w+", shape)
    mapped: Pictures = np.lib.format.open_memmap(file, mode, np.uint8, wanted)
    return mapped
