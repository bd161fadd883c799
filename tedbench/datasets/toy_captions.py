"""Captions of the toy world: a sentence that names some of a scene's attributes and is silent on the others."""

from __future__ import annotations

import itertools
from collections.abc import Collection

from tedbench.datasets.toy import ATTRIBUTES, Scene
from tedbench.errors import UnknownName

ALWAYS = frozenset({"subject", "count"})
"""What every caption tells: "a dog" or "dogs", with or without a numeral."""
_PLURALS = {"box": "boxes"}
_PLACES = {"grass": "on grass", "sand": "on sand", "snow": "on snow", "road": "on a road"}
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": (
        "A photo of {posed}{wearing}{place}.",
        "A photo of {plain}{posing}{place}{wearing}.",
        "{posed}{wearing}{place}.",
        "{plain}{posing}{place}{wearing}.",
    ),
    "clip-a": (
        "A photo of {posed}{wearing}{place}.",
        "a picture of {posed}{place}{wearing}",
        "there is {plain}{wearing}{posing}{place}",
        "{plain}{posing}{wearing}{place}",
    ),
    "clip-b": (
        "A photo of {posed}{wearing}{place}.",
        "an image showing {plain}{posing}{wearing}{place}",
        "we see {posed}{place}{wearing}",
        "{posed}{place}{wearing}",
    ),
}
WORDINGS = {style: len(templates) for style, templates in _TEMPLATES.items()}
"""How many phrasings a style has."""


def caption(scene: Scene, mention: Collection[str], wording: int = 0, style: str = "photo") -> str:
    """A sentence true of the scene, such as "A photo of a sitting brown dog wearing a hat on grass".

    Args:
        scene: what it is about.
        mention: attributes to name; the subject always is, and the noun's number tells the count (a numeral if named).
        wording: which phrasing of the style, 0 to `WORDINGS[style]` - 1.
        style: `photo`, the generator's and the benchmark's; `clip-a` and `clip-b`, those of the two toy CLIPs.

    Raises:
        UnknownName: for another style or attribute.
    """
    for name in mention:
        if name not in ATTRIBUTES:
            raise UnknownName("attribute", name, ATTRIBUTES)
    if style not in _TEMPLATES:
        raise UnknownName("caption style", style, _TEMPLATES)
    text = _TEMPLATES[style][wording].format_map(_phrases(scene, mention))
    return text[0].upper() + text[1:]


def _phrases(scene: Scene, mention: Collection[str]) -> dict[str, str]:
    many = scene.count == "two"
    hats = "hats" if many else "a hat"
    wearing = f" wearing {hats}" if scene.accessory == "hat" else f" without {hats}"
    posed = "pose" in mention and scene.pose != "still"
    return {
        "posed": _noun(scene, mention, (scene.pose,) if posed else ()),
        "plain": _noun(scene, mention, ()),
        "posing": f" {scene.pose}" if posed else "",
        "wearing": wearing if "accessory" in mention else "",
        "place": f" {_PLACES[scene.background]}" if "background" in mention else "",
    }


def _noun(scene: Scene, mention: Collection[str], pose: tuple[str, ...]) -> str:
    many = scene.count == "two"
    number = (scene.count,) if "count" in mention else () if many else ("a",)
    size = (scene.size,) if "size" in mention else ()
    colour = (scene.colour,) if "colour" in mention else ()
    noun = _PLURALS.get(scene.subject, f"{scene.subject}s") if many else scene.subject
    return " ".join((*number, *size, *pose, *colour, noun))


def _words() -> tuple[str, ...]:
    found: set[str] = set()
    for style, templates in _TEMPLATES.items():
        for wording, (count, accessory) in itertools.product(range(len(templates)), (("one", "hat"), ("two", "none"))):
            for background, subject in itertools.product(ATTRIBUTES["background"], ATTRIBUTES["subject"]):
                scene = Scene(subject, "red", "sitting", count, accessory, background, "small")
                for mention in (ALWAYS, ATTRIBUTES):
                    found |= set(caption(scene, mention, wording, style).lower().replace(".", "").split())
    values = (value for name, each in ATTRIBUTES.items() if name != "accessory" for value in each if value != "still")
    return tuple(sorted(found | set(values) | {"a"}))


WORDS = _words()
"""Every word of every caption, in lower case."""
