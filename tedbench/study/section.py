"""What an analysis says, as a page, Markdown, tables and a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tedbench import __version__, disk, environment, report
from tedbench.report import page, published
from tedbench.report.render import as_csv
from tedbench.report.table import records
from tedbench.study import barplot, power, wording
from tedbench.study.analysing import Analysis
from tedbench.study.bundle import Study
from tedbench.study.strengths import Strengths

if TYPE_CHECKING:
    import pandas as pd

HERE = Path(__file__).parent
MARKER = "analysis.json"


@dataclass(frozen=True)
class Said:
    """All that a section is made of."""

    study: Study
    analysis: Analysis
    detection: pd.DataFrame
    """`detecting.measure`: what the rules would find among simulated raters."""
    sources: Mapping[str, int]
    """Where answers came from → how many."""
    notes: tuple[str, ...] = ()
    """What reading them had to say."""


def write(said: Said, out: Path) -> list[Path]:
    """Write everything about an analysis; an earlier one at the same place is replaced.

    Args:
        said: what is to be written.
        out: folder.

    Raises:
        StoreError: if something else stands at `out`, or the disk cannot be written.
    """
    report.check_place(out, MARKER)
    made = files(said)
    with disk.new_folder(out, replace=True) as scratch:
        for name, content in made.items():
            (scratch / name).write_bytes(content)
    return [out / name for name in made]


def files(said: Said) -> dict[str, bytes]:
    """File name → content."""
    study, analysis = said.study, said.analysis
    drawn = barplot.draw(analysis.rates, {one.name: one.wording for one in study.lock.asking.aspects})
    told = context(said)
    tables = {
        "rates": analysis.rates, "rates_all": analysis.rates_all, "strengths": _strengths(analysis),
        "raters": analysis.raters, "exclusions": analysis.rules, "detection": said.detection, "times": analysis.times,
        "sides": analysis.sides, "metrics": analysis.metrics, "answers": analysis.answers,
    }  # fmt: skip
    made = {
        "index.html": page.plain_html(HERE, "section.html.j2", told, {"rates": drawn}),
        "study.md": page.for_markdown(HERE).get_template("section.md.j2").render(**told).encode(),
        **{f"{name}.csv": as_csv(frame) for name, frame in tables.items() if len(frame)},
        **{f"rates.{kind}": content for kind, content in drawn.items()},
        "study.lock": (study.path / "study.lock").read_bytes(),
    }
    about = {"format": 1, "study": study.lock.tag, "version": __version__, "files": [*made], "made": environment.now(),
             "answers": dict(said.sources)}  # fmt: skip
    return {**made, MARKER: (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode()}


def context(said: Said) -> dict[str, Any]:
    """All that the templates say."""
    analysis, lock, main = said.analysis, said.study.lock, said.analysis.answers
    both = zip(records(analysis.rates), records(analysis.rates_all), strict=True)  # in one order
    rates = [{**row, "all": everybody} for row, everybody in both]
    return {
        "title": f"{lock.title} – {lock.name}",
        "lock": lock,
        "tag": lock.tag,
        "headline": wording.headline(analysis),
        "departures": analysis.departures,
        "confirmatory": analysis.confirmatory,
        "notes": (*said.notes, *analysis.notes),
        "raters": int(main["rater"].nunique()),
        "kept": int((~analysis.raters["excluded"]).sum()),
        "answers": len(main),
        "sources": dict(said.sources),
        "several": len(lock.asking.aspects) > 1,
        "wordings": {one.name: one.wording for one in lock.asking.aspects},
        "rates": rates,
        "ties": bool(lock.asking.allow),
        "lost": any(row["unasked"] for row in rates),
        "beside": _beside(lock.contenders),
        "strengths": {aspect: _fit(one, lock.pairs[0][1]) for aspect, one in analysis.strengths.items()}
        if len(lock.contenders) > 2
        else {},
        "rules": records(analysis.rules),
        "detection": records(said.detection),
        "repeats": vars(analysis.repeats),
        "sides": records(analysis.sides),
        "times": records(analysis.times),
        "alphas": {name: vars(one) for name, one in analysis.alphas.items()},
        "metrics": records(analysis.metrics),
        "power": power.told(lock.power),
        "design": wording.design(lock),
        "ethics": wording.ethics(lock),
        "texts": wording.TEXTS,
        "version": __version__,
    }


def _fit(one: Strengths, reference: str) -> dict[str, Any]:
    rows = sorted(records(one.table), key=lambda row: -row["strength"])
    return {**vars(one), "rows": rows, "reference": reference, "said": wording.fitted(one)}


def _strengths(analysis: Analysis) -> pd.DataFrame:
    import pandas as pd

    found = [one.table.assign(aspect=aspect) for aspect, one in analysis.strengths.items()]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _beside(contenders: Any) -> list[dict[str, Any]]:
    """What papers print of preferences, where one of the methods is theirs."""
    rows = published.load()
    rows = rows[rows["metric"].str.contains("preference") & rows["verified"]]
    names = {one.method.partition("@")[0].split("-")[0] for one in contenders}
    found = [row for row in records(rows) if names & set(str(row["method_id"]).split("-"))]
    return [{**row, "n": None if math.isnan(row["n"]) else int(row["n"])} for row in found]
