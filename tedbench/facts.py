"""What a fit or a sweep has to say besides its images: losses, batches, the model's hash.

A method notes it, whoever runs the method keeps it; without one, nothing happens:

    with facts.noted() as kept:
        method.fit(pair, seed)      # calls facts.note(loss=[0.31, 0.29])
    kept                            # {"loss": [0.31, 0.29]}
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_open: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)


def note(**values: Any) -> None:
    """Keep values that JSON can hold with the cells in hand; a later value of one name replaces the earlier."""
    kept = _open.get()
    if kept is not None:
        kept.update(values)


@contextmanager
def noted() -> Iterator[dict[str, Any]]:
    """A dict that fills with what is noted inside the block, in this thread or task alone."""
    kept: dict[str, Any] = {}
    token = _open.set(kept)
    try:
        yield kept
    finally:
        _open.reset(token)
