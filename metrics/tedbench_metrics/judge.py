"""A judge: a vision-language model behind an OpenAI-compatible address is shown source and edit, and asked.

    JudgeEdit   does the edit show what the target text says?
    JudgeKept   apart from that, is everything as it was?

Each question is asked twice, with the two pictures in either order, since such models favour a position (arXiv
2306.05685):

    value = (a(source, edit) + a(edit, source)) / 2,    a = 1 for yes, 0 for no

An answer in another form than the one asked for, an empty one and a refusal have no a: the value is missing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import warnings
from collections.abc import Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args
from urllib.parse import quote

from tedbench import images as pictures
from tedbench.errors import MetricNote, UsageError
from tedbench.types import Answer, EditPair
from tedbench_metrics import endpoint, models, prompts
from tedbench_metrics.endpoint import Endpoint
from tedbench_metrics.prompts import Question, fault_of, value_of

if TYPE_CHECKING:
    from PIL.Image import Image

Sampling = Literal["greedy", "unseeded", "default"]
_SETTINGS: Mapping[str, tuple[Mapping[str, float], str]] = {
    "greedy": ({"temperature": 0.0, "seed": 0}, "max_tokens"),
    "unseeded": ({"temperature": 0.0}, "max_tokens"),
    "default": ({}, "max_completion_tokens"),
}
"""What is sent for each `Sampling`, and how its servers call the limit of tokens."""


@dataclass(frozen=True)
class _Judge:
    at: ClassVar[str] = "model"
    higher_is_better: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    family: ClassVar[str]
    question: ClassVar[str]

    model: str = ""
    """As the server calls it: `Qwen/Qwen2.5-VL-7B-Instruct`."""
    address: str = ""
    """`http://HOST:PORT/v1`; OPENAI_BASE_URL of the environment if empty. The key, if any, is OPENAI_API_KEY."""
    sampling: Sampling = "greedy"
    """`greedy`: temperature 0, seed 0; `unseeded`: for servers that refuse a seed; `default`: the model's own."""
    tokens: int = 64
    """Most that an answer may have; a model that thinks aloud needs more."""
    parallel: int = 4
    """Requests under way at once."""
    seconds: float = 120.0
    """Most that one try of a request may take."""
    retries: int = 3
    """After time-outs, lost connections and HTTP 408, 409, 429 and 5xx."""

    def __post_init__(self) -> None:
        if not self.model or not self.model.isprintable() or self.model != self.model.strip():
            raise UsageError(f"{self.family} needs a model's name, as the server knows it: {self.family}@MODEL")
        if self.sampling not in get_args(Sampling):
            raise UsageError(f"no sampling {self.sampling!r}; known: {', '.join(get_args(Sampling))}")
        if not (self.tokens >= 1 and 1 <= self.parallel <= 64 and 0 < self.seconds <= 3600 and 0 <= self.retries <= 10):
            raise UsageError(f"{self.family}: tokens from 1, parallel 1 to 64, seconds up to 3600, retries 0 to 10")
        if self.address:
            endpoint.check(self.address)

    @property
    def identity(self) -> str:
        """`judge-edit-MODEL/prompt-1-HASH8/greedy-64`; the same model behind two addresses is one judge."""
        prompt = f"prompt-{prompts.VERSION}-{prompts.hash8(self.question)}"
        return f"{self.family}-{quote(self.model, safe='/:')}/{prompt}/{self.sampling}-{self.tokens}"

    @property
    def needs(self) -> frozenset[str]:
        """No optional field."""
        return frozenset()

    @property
    def facts(self) -> Mapping[str, str | float]:
        """Family, backbone, convention and address; values are binary.

        A value is the share of yes among the answers to one question, so a mean of values is a proportion; and an edit
        that failed shows nothing and kept nothing, which counts as no.

        Raises:
            UsageError: if there is no address.
        """
        return {
            "family": self.family, "backbone": self.model, "convention": f"{self.sampling}-{self.tokens}",
            "values": "binary", "address": endpoint.find(self.address),
        }  # fmt: skip

    def score(self, pairs: Sequence[EditPair], images: Sequence[Image]) -> list[float]:
        """0, 0.5, 1 or nan per edit, all of it asked for; raises and warns as `score_with_answers`."""
        return self.score_with_answers(pairs, images, {})[0]

    def score_with_answers(
        self, pairs: Sequence[EditPair], images: Sequence[Image], known: MutableMapping[str, Answer]
    ) -> tuple[list[float], list[list[Answer]]]:
        """Score, and tell by which answers.

        Args:
            pairs: one an edit.
            images: RGB, of any size; shown at that size, as the sources are.
            known: answers by question; gains those that had to be asked for, as they come.

        Returns:
            0, 0.5, 1 or nan per edit, and its two answers: question, order, text, refusal, finish, model, fingerprint.

        Raises:
            MetricError: if pairs and images are not equally many, or the openai client is not installed.
            UsageError: if there is no address.
            NetworkError: if the server cannot be reached, or answers with an error, after all retries.
            ImageError: if an image is no RGB Pillow image, or a source cannot be read.

        Warns:
            MetricNote: for each pair without a readable answer, and if several models answered.
        """
        models.check(pairs, images)
        sources = {file: pictures.read(file) for file in dict.fromkeys(pair.image for pair in pairs)}
        shown = {pictures.pixel_sha256(image): image for image in [*sources.values(), *images]}
        asked = [self._asked(p.target_text, sources[p.image], e) for p, e in zip(pairs, images, strict=True)]
        missing = {key: question for some in asked for key, question in some.items() if key not in known}
        if missing:
            self._ask_all(missing, shown, known)
        answers: list[list[Answer]] = [[{**known[key], "question": key} for key in some] for some in asked]
        _note(pairs, answers, known)
        return [sum(map(value_of, some)) / len(some) for some in answers], answers

    @property
    def _settings(self) -> dict[str, Any]:
        settings, limit = _SETTINGS[self.sampling]
        return {**settings, limit: self.tokens}

    def _asked(self, text: str, source: Image, edit: Image) -> dict[str, Question]:
        """The question in both orders, by a hash of all that moves the answer."""
        hashes = {prompts.SOURCE: pictures.pixel_sha256(source), prompts.EDIT: pictures.pixel_sha256(edit)}
        found = prompts.questions(self.question, text, hashes)
        wholes = [json.dumps([self.model, self._settings, one.order, one.content(one.shown)]) for one in found]
        return {hashlib.sha256(whole.encode()).hexdigest(): one for whole, one in zip(wholes, found, strict=True)}

    def _ask_all(
        self, missing: Mapping[str, Question], shown: Mapping[str, Image], known: MutableMapping[str, Answer]
    ) -> None:
        server = Endpoint(endpoint.find(self.address), self.seconds, self.retries)
        urls = {digest: _data_uri(shown[digest]) for digest in {d for one in missing.values() for d in one.shown}}
        over = threading.Event()

        def ask(one: Question) -> Answer | None:
            if over.is_set():  # a worker hears of a failure before the thread that waits for it does
                return None
            content = one.content([urls[digest] for digest in one.shown])
            try:
                return {"order": one.order, **server.ask(client, self.model, content, self._settings)}
            except BaseException:
                over.set()
                raise

        with server.client() as client, ThreadPoolExecutor(self.parallel, "judge") as pool:
            asked = {pool.submit(ask, one): key for key, one in missing.items()}
            try:
                for future in as_completed(asked):
                    if said := future.result():
                        known[asked[future]] = said
            finally:  # what was answered is kept, whatever ended the rest
                pool.shutdown(cancel_futures=True)
                for future, key in asked.items():
                    whole = key not in known and not future.cancelled() and future.exception() is None
                    if whole and (said := future.result()):
                        known[key] = said


@dataclass(frozen=True)
class JudgeEdit(_Judge):
    """Whether a model says that the edit shows what the target text says."""

    family: ClassVar[str] = "judge-edit"
    question: ClassVar[str] = prompts.SHOWN


@dataclass(frozen=True)
class JudgeKept(_Judge):
    """Whether a model says that all else is as it was; of equal pictures it should."""

    family: ClassVar[str] = "judge-kept"
    question: ClassVar[str] = prompts.KEPT


def _note(pairs: Sequence[EditPair], answers: Sequence[Sequence[Answer]], known: Mapping[str, Answer]) -> None:
    for pair, some in zip(pairs, answers, strict=True):
        faults = sorted({fault for answer in some if (fault := fault_of(answer))})
        if faults:
            what = f"pair {pair.uid!r}: no readable answer ({'; '.join(faults)}); not scored, see the run's answers"
            warnings.warn(what, MetricNote, stacklevel=3)
    # Of all answers, not of this call's alone: a server may change its model between two chunks.
    names = sorted({str(answer["model"]) for answer in known.values() if answer.get("model")})
    if len(names) > 1:
        what = f"more than one model answered: {', '.join(names)}; score with --again to ask one for all"
        warnings.warn(what, MetricNote, stacklevel=3)


def _data_uri(image: Image) -> str:
    return f"data:image/png;base64,{base64.b64encode(pictures.encode_png(image)).decode()}"
