"""The three trainings from beginning to end: pictures, network, checks, folder with a card."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from tedbench.datasets import toy
from tedbench_metrics.toy import (
    album,
    cards,
    clip_checks,
    clip_training,
    clips,
    reader,
    reader_checks,
    reader_training,
    strangers,
    training,
)

READER = training.Plan("oracle", steps=8000, seed=303, rate=2e-3, batch=128, average=0.995)
DUELS = 600
"""Pictures that the checks of a CLIP look at."""


@dataclass(frozen=True)
class Job:
    """What a command was asked to do."""

    out: Path
    work: Path
    command: str
    device: str = "cpu"
    steps: int | None = None
    batch: int | None = None
    groups: int = 8000
    """Of four pictures each."""
    held_out: int = 1000
    """Pictures a check looks at."""
    photographs: Path | None = None
    """A folder that the oracle is to refuse."""
    save_every: int = 100
    stop_at: int | None = None

    @property
    def place(self) -> training.Place:
        """Where it trains."""
        return training.Place(self.work, self.device, self.save_every, self.stop_at)

    def plan(self, plan: training.Plan) -> training.Plan:
        """A plan with what the command changes."""
        return replace(plan, steps=self.steps or plan.steps, batch=self.batch or plan.batch)

    def pages(self, part: str) -> album.Pages:
        """The pictures to learn from."""
        return album.Pages(part, self.groups)


def train_clip(kind: clips.Kind, job: Job) -> None:
    """Train a toy CLIP and write its folder, unless the job leaves off before."""
    pictures = album.open_album(job.pages(kind.name), job.work)
    pupil = clip_training.Pupil(kind).to(job.device)
    plan = job.plan(kind.plan)
    lesson = clip_training.Lesson(pupil, clips.tokenizer(), pictures, kind, plan, job.device)
    progress = training.fit(pupil, lesson, plan, job.place)
    if progress.step < plan.steps:
        return
    clips.write(pupil.clip, kind, job.out)
    seen = [cards.origin(job.command, plan, progress, job.pages(kind.name), job.device), *_clip_quality(kind, job)]
    cards.write(job.out, f"Toy CLIP {kind.name.removeprefix('clip-').upper()}", [clips.about(kind), *seen])


def train_reader(job: Job) -> None:
    """Train the oracle, choose its threshold and write its folder, unless the job leaves off before."""
    pictures = album.open_album(job.pages("oracle"), job.work)
    network = reader.build(toy.ATTRIBUTES).to(job.device)
    plan = job.plan(READER)
    others = strangers.bank(max(110, min(11000, job.groups)), READER.seed)
    lesson = reader_training.Lesson(network, pictures, others, plan, job.device)
    progress = training.fit(network, lesson, plan, job.place)
    if progress.step < plan.steps:
        return
    found = _judged(network, job)
    found.save(job.out)
    origin = cards.origin(job.command, plan, progress, job.pages("oracle"), job.device)
    cards.write(job.out, "Oracle of the toy world", [origin, *_reader_quality(found, job)])


def _clip_quality(kind: clips.Kind, job: Job) -> list[str]:
    # What is judged is what was written: float16 weights, read back.
    network = clips.load(job.out).to(job.device)
    pages = album.Pages("dev", min(DUELS, job.held_out), each=1)
    unseen = album.open_album(pages, job.work)
    found = {style: clip_checks.accuracy(network, unseen, style, job.device) for style in (kind.name, "photo")}
    text = (
        f"Part of {len(unseen)} pictures of combinations never learnt from, of which it prefers a true caption to one "
        "that differs in one attribute. Short captions name little else; the styles are its own and the benchmark's."
    )
    return ["## Two captions that differ in one attribute", text, cards.duels(found)]


def _judged(network: reader.Network, job: Job) -> reader.Reader:
    """With the threshold that held-out pictures of its own part give."""
    found = reader.Reader(network.eval(), toy.ATTRIBUTES, threshold=0.5)
    pages = album.Pages("oracle", job.held_out, first=job.groups, each=1)
    return replace(found, threshold=reader_checks.threshold(found, album.open_album(pages, job.work)))


def _reader_quality(trained: reader.Reader, job: Job) -> list[str]:
    found = reader.Reader.load(job.out, job.device)
    unseen = album.open_album(album.Pages("dev", job.held_out, each=1), job.work)
    twins = album.open_album(album.Pages("dev", max(2, job.held_out // 8), first=job.held_out), job.work)
    seen = {
        "as drawn": reader_checks.on_pictures(found, unseen, unseen.pixels.float() / 255),
        "mildly degraded": reader_checks.on_pictures(found, unseen, reader_checks.degraded(unseen)),
    }
    photographs = strangers.photographs(job.photographs) if job.photographs else None
    refused = reader_checks.refusals(found, twins, photographs, min(300, job.held_out))
    refused |= reader_checks.halves_of_twins(found, twins)
    confused = [cards.confusion(name, seen["as drawn"]) for name in toy.ATTRIBUTES]
    return [
        f"## {len(unseen)} pictures of combinations never learnt from", cards.readings(seen),
        f"## What it refuses, at a threshold of {trained.threshold:.4f}", cards.refusals(refused),
        "## What it takes for what, as drawn", *confused,
    ]  # fmt: skip
