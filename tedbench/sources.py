"""Which code a class runs: its module, and every module of its own project that this one imports, inside functions too.

Own are the modules of the same top-level package; and where the package is not installed but lies in a folder, as a
user's `mine.py` does, its neighbours in that folder, but not an environment that lies there too. What comes from
elsewhere has versions, which a run records.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from tedbench import images, models

ALSO = ("tedbench.images",)
"""Of the suite: what every method reads pictures with."""


def digest(cls: type[Any]) -> str:
    """Hex sha256 over the names and contents of those modules; empty where the class has no file.

    Args:
        cls: as it was imported.
    """
    found = files(cls)
    lines = [f"{name} {models.file_sha256(path)}" for name, path in sorted(found.items())]
    return images.sha256("\n".join(lines).encode()) if found else ""


def files(cls: type[Any]) -> dict[str, Path]:
    """Module → file."""
    try:
        start = inspect.getsourcefile(cls)
    except (OSError, TypeError):  # made at run time, or from an archive
        start = None
    if not start:
        return {}
    found = {cls.__module__: Path(start)}
    waiting = [cls.__module__]
    top, root = cls.__module__.partition(".")[0], _root(cls.__module__, Path(start))
    while waiting:
        name = waiting.pop()
        for other in _imported(name, found[name]):
            own = other.partition(".")[0]
            if other in found or not (own == top or _stands_in(own, root)):
                continue  # to look for a module imports the packages above it: of ours only
            path = _file(other)
            if path is not None:
                found[other] = path
                waiting.append(other)
    return {**found, **{name: path for name in ALSO if (path := _file(name))}}


def _root(module: str, path: Path) -> Path | None:
    """The folder whose modules are neighbours; None where everything installed is."""
    depth = module.count(".") + (path.name == "__init__.py")
    root = path.parents[min(depth, len(path.parents) - 1)]
    return None if _is_shared(root) else root


def _is_shared(folder: Path) -> bool:
    """Whether a folder holds, or lies among, what is installed."""
    shared = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "purelib", "platlib")}
    return not shared.isdisjoint((folder.resolve(), *folder.resolve().parents)) or "site-packages" in folder.parts


def _stands_in(top: str, root: Path | None) -> bool:
    """Whether a top-level module or package is a neighbour, with an `__init__.py` or without."""
    place = _place(top) if root else None
    return place is not None and root in place.parents and not _is_shared(place.parent)


@functools.cache
def _parsed(path: Path, mtime_ns: int) -> ast.Module | None:
    del mtime_ns  # only there to read a file that changed again
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _imported(module: str, path: Path) -> Iterator[str]:
    tree = _parsed(path, path.stat().st_mtime_ns)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _base(node: ast.ImportFrom, package: str) -> str:
    """The module that `from … import` names, its dots resolved."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    kept = parts[: len(parts) - node.level + 1]
    return ".".join([*kept, node.module] if node.module else kept)


@functools.cache
def _file(module: str) -> Path | None:
    """The file of a module, without importing it; None for what is none, or is written in no Python."""
    spec = _spec(module)
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None


@functools.cache
def _place(top: str) -> Path | None:
    """The file of a module, or the folder of a package that has no `__init__.py`."""
    spec = _spec(top)
    inside = list(spec.submodule_search_locations or ()) if spec else []
    return _file(top) or (Path(inside[0]) if inside else None)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module) if module else None
    except (ImportError, AttributeError, ValueError):
        return None
