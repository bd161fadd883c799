"""The list of what was done: the last line of a key counts, and no damage is taken for an entry."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tedbench.running import journal
from tedbench.running.journal import Journal

STEP = st.tuples(st.sampled_from(["put", "put", "open", "end"]), st.integers(0, 30), st.text(max_size=5))


def key(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()[:32]


def entry(n: int, note: str) -> dict[str, Any]:
    return {"key": key(n), "record": note, "cells": []}


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "end", "open"]), st.integers(0, 30), st.text(max_size=5)), max_size=60)
)
def test_it_answers_as_a_dict_does(steps: list[tuple[str, int, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        said, settled = dict[str, Any](), set[str]()
        one = Journal(Path(folder))
        for step, n, note in steps:
            if step == "put":
                one.append(entry(n, note))
                said[key(n)] = entry(n, note)
                settled.discard(key(n))
            elif step == "end":
                one.end()
                settled = set(said)
            else:
                one.close()
                one = Journal(Path(folder))
            assert len(one) == len(said)
            for k in (key(m) for m in range(31)):
                assert one.look_up(k) == (said.get(k), k in settled)
        assert {found["key"]: found for found in one.entries()} == said
        one.close()


def test_many_entries_and_long_ones(tmp_path: Path) -> None:
    with Journal(tmp_path) as one:
        for n in range(1200):
            one.append(entry(n, "x" * (n % 7) * (journal.WINDOW // 5 if n % 500 == 6 else 1)))
    with Journal(tmp_path) as one:
        assert len(one) == 1200
        for n in [*range(1200), *range(1199, -1, -7)]:
            found = one.find(key(n))
            assert found is not None
            assert found["key"] == key(n)
        assert one.find(key(1200)) is None


def test_what_is_half_written_or_damaged_is_as_if_never_done(tmp_path: Path) -> None:
    with Journal(tmp_path) as one:
        for n in range(4):
            one.append(entry(n, "r"))
    path = tmp_path / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b'"r"', b'"r') + lines[2] + lines[3][:-4])
    with Journal(tmp_path) as one:
        assert [one.find(key(n)) is not None for n in range(4)] == [True, False, True, False]
    journal.mend(tmp_path)
    with Journal(tmp_path) as one:
        one.append(entry(5, "r"))
        assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()[2:]] == [key(2), key(5)]
    with Journal(tmp_path) as one:
        assert [one.find(key(n)) is not None for n in (0, 2, 3, 5)] == [True, True, False, True]
