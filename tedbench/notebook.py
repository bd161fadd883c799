"""Runs as DataFrames, for notebooks.

import tedbench
run = tedbench.load_run("results/NAME")          # or an address, or several, over one data set
run.scores()                                     # a row an image and metric
run.curves(by="category")                        # a row a point
run.table()                                      # a row a method and metric, as in the report
run.gallery()                                    # a picture
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tedbench.errors import UsageError
from tedbench.remote import mirror
from tedbench.report import contact, gallery, shown, sweeps
from tedbench.report import table as tables
from tedbench.report.table import Material

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image


@dataclass(frozen=True)
class Loaded:
    """One or more scored runs over one data set."""

    material: Material

    def scores(self) -> pd.DataFrame:
        """What was scored: run, uid, image_id, category, method, seed, strength, metric, identity, value.

        `metric` is what was typed, `identity` what it means: values of two identities are not to be mixed. NaN where an
        image has no value; 0 for a failed edit where success is 0 or 1.
        """
        scores = self.material.scores
        specs = {identity: facts.spec for identity, facts in self.material.metrics.items()}
        named = scores.rename(columns={"metric": "identity"}).assign(metric=scores["metric"].map(specs))
        columns = ["run", "uid", "image_id", "category", "method", "seed", "strength", "metric", "identity", "value"]
        return named[columns].reset_index(drop=True)

    def curves(self, by: sweeps.By | None = None) -> pd.DataFrame:
        """Every metric of every method at every strength: `report.sweeps.COLUMNS`, with intervals at 95%.

        Args:
            by: a curve for each category, seed or pair instead, with a column of that name first.

        Raises:
            UsageError: if it is something else.
        """
        if by is None:
            return sweeps.frame(self.material, sweeps.measured(self.material))
        if by not in ("category", "seed", "uid"):
            raise UsageError(f"curves(by={by!r}): no such split; there are category, seed and uid")
        return sweeps.split_frame(self.material, sweeps.split(self.material, by), by)

    def table(self) -> pd.DataFrame:
        """A row a method and metric at the strength that the report shows: `report.table.COLUMNS`."""
        return tables.summary(shown.only(self.material, shown.choose(self.material)))

    def gallery(self, uids: Collection[str] | str = (), pairs: int = gallery.PAIRS) -> Image:
        """Input, true answer where known, and each method over its strength, as one RGB picture.

        Args:
            uids: the pairs to show, or one; by default some of each category, not chosen by how they came out.
            pairs: how many, where `uids` does not say.

        Raises:
            UsageError: if a pair is not among the questions, or no image of the runs is on disk.
        """
        from PIL import Image

        asked = self.material.pairs
        uids = [uids] if isinstance(uids, str) else uids
        if pairs < 1:
            raise UsageError(f"gallery(pairs={pairs}): name one or more")
        unknown = sorted(set(uids) - set(asked["uid"]))
        if unknown:
            raise UsageError(f"no pair {unknown[0]!r} in {self.material.dataset.name}; scores()['uid'] lists them")
        wanted = asked[asked["uid"].isin(list(uids))] if uids else asked
        some = replace(self.material, pairs=wanted)
        found = gallery.gather(some, sweeps.labels(self.material), len(uids) or pairs)
        if not found.entries:
            raise UsageError(found.note)
        return Image.open(io.BytesIO(contact.sheet(found.entries))).convert("RGB")


def load(folders: Sequence[str | Path]) -> Loaded:
    """Read scored runs.

    Raises:
        StoreError: if a folder is no run, or has not been scored.
        UsageError: if there is no run, or the runs are over different questions.
    """
    wrong = [folder for folder in folders if not isinstance(folder, str | Path)]
    if wrong:
        raise UsageError(f"load_run takes folders one by one, not {type(wrong[0]).__name__}: load_run(*folders)")
    return Loaded(tables.gather([mirror.local(folder) for folder in folders]))
