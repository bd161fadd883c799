"""A worker on another machine: like home in all that moves a number, or none at all.

It holds a `Local`: a process for each method, with the same limits, in the same words. It gets the photo's bytes and
gives back the images', so that no folder is shared. Only whoever asked writes.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tedbench import environment, images, sources
from tedbench.contenders import Contender
from tedbench.errors import ImageError, PluginError, TedbenchError, short
from tedbench.local import Local, Task
from tedbench.types import ImageFile


@dataclass(frozen=True)
class Home:
    """What a worker must know of whoever asks, and be like."""

    folder: str
    path: tuple[str, ...]
    """Where modules are looked for."""
    contenders: bytes
    """Pickled."""
    codes: tuple[str, ...]
    """Of each contender, see `Contender.code`."""
    versions: Mapping[str, str]
    time_limit: float
    threads: int


class Worker:
    """What lives in the cluster. Errors are handed over as data: Ray would wrap them."""

    def __init__(self) -> None:
        self._local: Local | None = None

    def begin(self, home: Home) -> str:
        """Be as at home; why that cannot be, or nothing."""
        if Path(home.folder).is_dir():
            os.chdir(home.folder)  # models and modules may be named from there
        sys.path.extend(one for one in home.path if one not in sys.path and Path(one).exists())
        try:
            contenders = pickle.loads(home.contenders)
        except Exception as error:  # noqa: BLE001  (to load a method imports a stranger's module)
            return f"cannot load the methods there ({short(error)})"
        self._local = Local(contenders, home.time_limit, home.threads, "spawn")  # an actor is full of threads
        return differs(home, contenders)

    def ask(self, name: str, said: Any) -> tuple[str, Any]:
        """`prepare` or `do`, of `Local`."""
        try:
            return "done", getattr(self._local, name)(said)
        except KeyboardInterrupt:
            return "interrupted", None
        except TedbenchError as error:
            return "raised", (type(error).__name__, str(error))


def differs(home: Home, contenders: Sequence[Contender]) -> str:
    """How this place is unlike home, where that moves numbers; nothing where it is not."""
    here = environment.versions()
    for name, version in home.versions.items():
        if here.get(name) != version:
            return f"has {name} {here.get(name)}, and here is {version}"
    for one, code in zip(contenders, home.codes, strict=True):
        if sources.digest(type(one.method)) != code:
            return f"has other code of method {one.label!r} than there is here"
    return ""


def home_of(contenders: Sequence[Contender], time_limit: float, threads: int) -> Home:
    """What workers are told; raises PluginError if a method cannot be sent."""
    codes = tuple(one.code for one in contenders)
    path = tuple(str(Path(one).absolute()) for one in sys.path)
    return Home(str(Path.cwd()), path, packed(contenders), codes, environment.versions(), time_limit, threads)


def packed(contenders: Sequence[Contender]) -> bytes:
    """Pickled, as a process that is not forked gets them.

    Raises:
        PluginError: naming the method that cannot be sent.
    """
    for one in contenders:
        try:
            pickle.dumps(one)
        except Exception as error:
            why = f"{short(error)}; give it fields that can be pickled"
            raise PluginError(f"method {one.label!r} cannot be sent to another process: {why}") from error
    return pickle.dumps(tuple(contenders))


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
