"""What a text is to a network: named tensors, all with a batch axis first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Text:
    """The embedding e of one or more texts: `hidden` (B, L, D), and whatever else the network reads, as `pooled`."""

    parts: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, which: Sequence[int]) -> Text:
        """Those of the batch."""
        return self.map(lambda part: part[list(which)])

    def map(self, f: Callable[[Tensor], Tensor]) -> Text:
        """Every part through f."""
        return Text({name: f(part) for name, part in self.parts.items()})

    def repeat(self, n: int) -> Text:
        """One text n times."""
        return self.map(lambda part: part.expand(n, *part.shape[1:]))


def cat(texts: Sequence[Text]) -> Text:
    """Batches of texts as one."""
    return Text({name: torch.cat([text.parts[name] for text in texts]) for name in texts[0].parts})


def interpolate(e_tgt: Text, e_opt: Text, eta: Sequence[float]) -> Text:
    """ē = η · e_tgt + (1 − η) · e_opt for every η (Imagic, section 3.2), of two single texts; (len(eta), …)."""

    def mixed(tgt: Tensor, opt: Tensor) -> Tensor:
        weight = torch.tensor(list(eta), dtype=tgt.dtype, device=tgt.device).view(-1, *[1] * (tgt.ndim - 1))
        return weight * tgt + (1 - weight) * opt

    return Text({name: mixed(part, e_opt.parts[name]) for name, part in e_tgt.parts.items()})
