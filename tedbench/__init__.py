"""TEdBench: a benchmark suite for text-based editing of real images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tedbench.notebook import Loaded

__version__ = "0.1.0"


def load_run(*folders: str | Path) -> Loaded:
    """Read one or more scored runs over one data set, for a notebook; see `tedbench.notebook.Loaded`.

    Raises:
        StoreError: if a folder is no run, or has not been scored.
        UsageError: if there is no run, or the runs are over different questions.
    """
    from tedbench import notebook  # pandas takes a second to load, and `tedbench --version` needs none of it

    return notebook.load(folders)
