"""Names and digests that every data set shares: uids, image clusters, and the digest of a list of pairs."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tedbench.types import EditPair, ImageFile

SLUG = 60
"""Longest readable part of a text in a uid."""
_NAME = 80


def slug(text: str) -> tuple[str, bool]:
    """A text as lower-case ASCII words joined by `-`, and whether something more than that was lost.

    Lost means: cut at 60 characters, letters outside ASCII dropped, or nothing left.
    """
    whole = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    cut = whole[:SLUG].rstrip("-")
    return cut, not cut or cut != whole or not text.isascii()


def make_uids(keys: Sequence[tuple[str, str]]) -> list[str]:
    """Readable ids, unique whatever the file system thinks of case, and usable as file names.

    `{img_name}--{slug(text)}`; `-` and six hex digits of the text's sha256 follow where the slug lost something or
    two ids are equal.

    Args:
        keys: (img_name, text) of each pair, all different.
    """
    slugs = [slug(text) for _, text in keys]
    plain = [f"{_safe_name(name)}--{words}" for (name, _), (words, _) in zip(keys, slugs, strict=True)]
    hashed = {i for i, (_, lossy) in enumerate(slugs) if lossy} | _clashing(plain)
    uids = [f"{uid}-{_hex(keys[i][1])}" if i in hashed else uid for i, uid in enumerate(plain)]
    again = _clashing(uids)  # names that differ in case alone
    return [f"{uid}-{_hex(chr(0).join(keys[i]))}" if i in again else uid for i, uid in enumerate(uids)]


def is_file_name(uid: str) -> bool:
    """Whether an id can name a file anywhere: ASCII letters, digits, `.`, `_`, `-`; up to 160, not led by a dot."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,159}", uid) is not None and not uid.endswith(".")


def image_ids(images: Iterable[ImageFile]) -> dict[str, str]:
    """Digest → name of the first image with that content: the cluster of all pairs about it."""
    first: dict[str, str] = {}
    for image in images:
        first.setdefault(image.sha256, image.name)
    return first


def digest(pairs: Sequence[EditPair]) -> str:
    """Hex sha256 of a list of pairs: texts, ids and image digests in order, wherever the bytes lie."""
    rows = [
        {
            **({"changes": pair.changes, "keeps": pair.keeps} if pair.changes else {}),
            "uid": pair.uid,
            "image": [pair.image.name, pair.image.sha256],
            "image_id": pair.image_id,
            "target_text": pair.target_text,
            "source_text": pair.source_text,
            "instruction": pair.instruction,
            "mask": pair.mask and pair.mask.sha256,
            "references": [image.sha256 for image in pair.references],
            "truth": pair.truth and pair.truth.sha256,
            "category": pair.category,
        }
        for pair in pairs
    ]
    text = json.dumps(rows, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _safe_name(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_NAME].lstrip(".-")
    return name if safe == name else f"{safe or 'image'}-{_hex(name)}"


def _clashing(uids: Sequence[str]) -> set[int]:
    count = Counter(uid.lower() for uid in uids)
    return {i for i, uid in enumerate(uids) if count[uid.lower()] > 1}


def _hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
