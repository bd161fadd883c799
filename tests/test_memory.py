"""Peaks against memory that was really held."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tedbench import memory

MIB = 1 << 20


def test_a_peak_is_what_a_stretch_held_not_what_came_before() -> None:
    if not memory.forget():
        pytest.skip("this process may not reset its peak")
    before = memory.peak(True).host
    held = np.ones(64 * MIB, dtype=np.uint8)
    during = memory.peak(True).host
    assert before is not None and during is not None
    assert 60 * MIB < during - before < 200 * MIB
    del held
    kept = memory.peak(True).host
    assert kept is not None and kept > during - MIB  # the kernel counts pages in batches
    assert memory.forget()
    after = memory.peak(True).host
    assert after is not None and after < during - 30 * MIB


def test_without_the_right_to_forget_nothing_is_said() -> None:
    assert memory.peak(False).host is None


def test_an_accelerator_counts_once_a_method_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.cuda itself needs a GPU; its three calls are stood in for."""
    reset: list[int] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 2, reset_peak_memory_stats=reset.append,
        max_memory_allocated=lambda k: [5, 7][k],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    memory.forget()
    assert reset == [0, 1]
    assert memory.peak(True).device == 12
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: False)))
    assert memory.peak(True).device is None
