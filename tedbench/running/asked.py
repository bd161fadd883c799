"""What a run is asked for, as a list of sweeps that is never made whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from tedbench import keys
from tedbench.contenders import Contender
from tedbench.running.sweeps import Sweep
from tedbench.types import EditPair


class Asked(Sequence[Sweep]):
    """Every sweep that is asked for: method by method, pair by pair, seed by seed; each is made when looked at."""

    def __init__(self, made: Sequence[Contender], pairs: Sequence[EditPair], seeds: Sequence[int]) -> None:
        self.made, self.seeds = tuple(made), tuple(seeds)
        self._pairs = [(pair, keys.of_question(pair)) for pair in pairs]

    def __len__(self) -> int:
        return len(self.made) * len(self._pairs) * len(self.seeds)

    @property
    def images(self) -> int:
        """How many all of them are."""
        return sum(len(one.strengths) for one in self.made) * len(self._pairs) * len(self.seeds)

    def __iter__(self) -> Iterator[Sweep]:
        for one in self.made:
            for pair, question in self._pairs:
                for seed in self.seeds:
                    yield Sweep(one, pair, seed, question)

    @overload
    def __getitem__(self, at: int) -> Sweep: ...

    @overload
    def __getitem__(self, at: slice) -> list[Sweep]: ...

    def __getitem__(self, at: int | slice) -> Sweep | list[Sweep]:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        if not 0 <= at < len(self):
            raise IndexError(at)
        rest, seed = divmod(at, len(self.seeds))
        one, pair = divmod(rest, len(self._pairs))
        return Sweep(self.made[one], self._pairs[pair][0], self.seeds[seed], self._pairs[pair][1])
