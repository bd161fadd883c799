"""A worker on another machine: like home in all that moves a number, or none at all.

It holds a `Local`: a process for each method, with the same limits, in the same words. It gets the photo's bytes and
gives back the images', so that no folder is shared. Only whoever asked writes.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedbench import environment, images
from tedbench.contenders import Contender
from tedbench.errors import ImageError, TedbenchError
from tedbench.running.local import Local, Task
from tedbench.running.packing import Packed, packed
from tedbench.types import ImageFile


@dataclass(frozen=True)
class Home:
    """What a worker must know of whoever asks, and be like."""

    folder: str
    path: tuple[str, ...]
    """Where modules are looked for."""
    contenders: tuple[Packed, ...]
    versions: Mapping[str, str]
    time_limit: float
    threads: int


class Worker:
    """What works there. Errors are handed over as data, with the place: whoever carries them would wrap them."""

    def __init__(self) -> None:
        self._local: Local | None = None
        self._place = ""

    def begin(self, home: Home, place: str) -> str:
        """Be as at home; in what that cannot be, or nothing.

        Args:
            home: of whoever asks.
            place: what people know this machine by.
        """
        self._place = place
        if Path(home.folder).is_dir():
            os.chdir(home.folder)  # models and modules may be named from there
        sys.path.extend(one for one in home.path if one not in sys.path and Path(one).exists())
        self._local = Local(home.contenders, home.time_limit, home.threads, "spawn")  # threads abound here
        here = environment.versions()
        unlike = [name for name, version in home.versions.items() if here.get(name) != version]
        return ", ".join(f"{name} {here.get(name)} for {home.versions[name]}" for name in unlike)

    def ask(self, name: str, said: Any) -> tuple[str, Any]:
        """`prepare` or `do`, of `Local`."""
        try:
            return "done", getattr(self._local, name)(said)
        except KeyboardInterrupt:
            return "interrupted", None
        except TedbenchError as error:
            return "raised", (type(error).__name__, f"on {self._place}: {error}")


def home_of(contenders: Sequence[Contender], time_limit: float, threads: int) -> Home:
    """What workers are told; raises PluginError if a method cannot be sent."""
    path = tuple(str(Path(one).absolute()) for one in sys.path)
    made = tuple(map(packed, contenders))
    return Home(str(Path.cwd()), path, made, environment.versions(), time_limit, threads)


def carried(task: Task) -> Task:
    """A task that needs nothing of this machine's disk: with the bytes of all that a method is given.

    What cannot be read stays as it is, so that whoever reads it there says so.
    """
    pair = task.pair
    mask = _carried(pair.mask) if pair.mask is not None else None
    references = tuple(map(_carried, pair.references))
    pair = dataclasses.replace(pair, image=_carried(pair.image), mask=mask, references=references)
    return dataclasses.replace(task, pair=pair)


def _carried(image: ImageFile) -> ImageFile:
    try:
        return dataclasses.replace(image, path=None, data=images.read_bytes(image))
    except ImageError:
        return image
