"""results/RUN/answers/METRIC.jsonl: what was answered to a metric that asks somebody, such as a judge.

One line an answer: uid, method, seed and strength of the image, then the metric's own record. The file appears whole,
at the end of a scoring. Until then each answer is added as it comes to METRIC.unfinished.jsonl, so that a scoring that
was interrupted does not pay for it twice.
"""

from __future__ import annotations

import json
import re
from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tedbench.disk import explained, read_lines, write_atomic
from tedbench.errors import MetricError
from tedbench.images import sha256
from tedbench.types import Answer, Cell

FOLDER = "answers"
KEYS = ("uid", "method", "seed", "strength")
_LONGEST = 80


def path_of(run: Path, identity: str) -> Path:
    """Where the answers to a metric are: its identity as far as a file name can hold it, and a hash of the whole."""
    readable = re.sub(r"[^A-Za-z0-9_.+-]+", "-", identity)[:_LONGEST].strip(".-")
    return run / FOLDER / f"{readable}-{sha256(identity.encode())[:8]}.jsonl"


def read(run: Path, identity: str) -> list[dict[str, Any]]:
    """The answers that the stored scores of a metric were made from; none if it asks nobody.

    Raises:
        StoreError: if the file is damaged.
    """
    path = path_of(run, identity)
    return read_lines(path) if path.exists() else []


class Answers(UserDict[str, Answer]):
    """Answers to one metric in one run, by question. One that is set is on disk at once."""

    def __init__(self, run: Path, identity: str, again: bool = False) -> None:
        """Take up what is on disk.

        Args:
            run: the run's folder.
            identity: of the metric, as its scores are stored.
            again: whether to ask anew, and so to know nothing.
        """
        super().__init__()
        self.path = path_of(run, identity)
        self.unfinished = self.path.with_suffix(".unfinished.jsonl")
        self._rows: list[dict[str, Any]] = []
        if not again:
            self.data = dict(_asked(read(run, identity))) | dict(_asked(_whole_lines(self.unfinished)))

    def __setitem__(self, question: str, answer: Answer) -> None:
        # A process killed while it wrote left half a line: the next one begins a line of its own.
        line = b"\n" + _line({"question": question, **answer})
        with explained(self.unfinished):
            self.unfinished.parent.mkdir(exist_ok=True)
            with self.unfinished.open("ab") as file:
                file.write(line)
        self.data[question] = answer

    def add(self, spec: str, cells: Sequence[Cell], answers: Sequence[Sequence[Answer]]) -> None:
        """Note which answers are about which images.

        Raises:
            MetricError: if there are not as many lists of answers as images.
        """
        if len(answers) != len(cells):
            raise MetricError(f"metric {spec!r} gave answers about {len(answers)} images of {len(cells)}; give all")
        for cell, some in zip(cells, answers, strict=True):
            self._rows += [{**{key: getattr(cell, key) for key in KEYS}, **answer} for answer in some]

    def write(self) -> None:
        """Write what was noted, whole or not at all.

        Raises:
            StoreError: if the disk is full or read-only.
        """
        with explained(self.path):
            self.path.parent.mkdir(exist_ok=True)
            write_atomic(self.path, b"".join(map(_line, self._rows)))
            self.unfinished.unlink(missing_ok=True)


def _line(row: Mapping[str, Any]) -> bytes:
    # All ASCII: an answer can hold anything, also what some readers take for the end of a line (U+2028).
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _asked(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Answer]]:
    for row in rows:
        if "question" in row:
            yield str(row["question"]), {key: value for key, value in row.items() if key not in KEYS}


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:  # the half line of a process that was killed
            continue
        rows += [row] if isinstance(row, dict) else []
    return rows
