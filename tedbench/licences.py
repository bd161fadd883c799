"""Which pictures may be handed on: those whose data set states a licence under which changed copies may be shared."""

from __future__ import annotations

import re
from dataclasses import dataclass

SHAREABLE = re.compile(
    r"apache-2\.0|mit|bsd-[23]-clause|unlicense|cc0(-1\.0)?|pddl-1\.0|public-domain|cc-by(-nc)?(-sa)?-[1-4]\.[0-9]"
)
"""SPDX names, lower case. No ND: an edit is a changed copy."""


@dataclass(frozen=True)
class Decision:
    """Whether a run's images go along, and why."""

    included: bool
    why: str


def allows(licence: str) -> bool:
    """Whether changed copies may be shared under a licence, or under each of several joined by commas."""
    names = [re.sub(r"[\s_]+", "-", name.strip().casefold()) for name in licence.split(",")]
    return all(SHAREABLE.fullmatch(name) for name in names)


def decide(licence: str, asked: bool | None) -> Decision:
    """Whether images of a data set go along.

    Args:
        licence: what the data set states; empty for nothing.
        asked: what the user said; None for what the licence allows.
    """
    if asked is False:
        return Decision(False, "left out as asked")
    if allows(licence):
        return Decision(True, f"the data set's licence, {licence}, allows it")
    stated = f"is {licence!r}, not known to allow it" if licence else "states no licence"
    lacks = f"the data set's licence {stated}" if licence else f"the data set {stated}"
    if asked:
        return Decision(True, f"asked for, though {lacks}; whoever shares them answers for it")
    return Decision(False, lacks)
