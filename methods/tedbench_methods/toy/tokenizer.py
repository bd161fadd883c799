"""A CLIP tokenizer for a small vocabulary: every word of the world is one token, any other text is spelt.

Byte-pair encoding joins the neighbours that were learned earliest. A word is therefore first cut by what is already
learned, then its pieces are joined from left to right by new merges: those come later than all others, so that no
word learned before is cut in another way.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from tedbench.errors import MethodError

END = "</w>"
"""CLIP's mark of a word's last piece."""
Merge = tuple[str, str]


def build(words: Iterable[str], length: int) -> Any:
    """A `CLIPTokenizer` whose end-of-text token has the highest number, as in CLIP.

    Args:
        words: lower-case, letters only.
        length: tokens of a text at most, its two ends included.

    Raises:
        MethodError: for a word that CLIP's own rules split before any merge.
    """
    from transformers import CLIPTokenizer

    learned = merges(words := sorted(set(words)))
    tokenizer = CLIPTokenizer(vocab=_vocabulary(learned), merges=learned, model_max_length=length)
    split = [word for word in words if len(tokenizer(word).input_ids) != 3]
    if split:
        raise MethodError(f"{split[0]!r} is no single token; a word of the world has lower-case letters only")
    return tokenizer


def merges(words: Iterable[str]) -> list[Merge]:
    """Merges, in order, after which each word is one token."""
    ranks: dict[Merge, int] = {}
    for word in words:
        left, *rest = pieces(word, ranks)
        for right in rest:
            ranks.setdefault((left, right), len(ranks))
            left += right
    return list(ranks)


def pieces(word: str, ranks: dict[Merge, int]) -> list[str]:
    """How byte-pair encoding cuts a word: the earliest merge first, until none fits."""
    parts = [*word[:-1], word[-1] + END]
    while known := [pair for pair in pairwise(parts) if pair in ranks]:
        parts = _joined(parts, min(known, key=ranks.__getitem__))
    return parts


def _joined(parts: list[str], pair: Merge) -> list[str]:
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
        else:
            found.append(part)
    return found


def _vocabulary(learned: Iterable[Merge]) -> dict[str, int]:
    from tokenizers.pre_tokenizers import ByteLevel

    characters = sorted(ByteLevel.alphabet())
    ends = [character + END for character in characters]
    joined = ["".join(pair) for pair in learned]
    tokens = dict.fromkeys([*characters, *ends, *joined, "<|startoftext|>", "<|endoftext|>"])
    return {token: number for number, token in enumerate(tokens)}
