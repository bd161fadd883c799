"""A contender on its way to another process or machine, where it must run the code that it was packed with."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

from tedbench import sources
from tedbench.contenders import Contender
from tedbench.errors import MethodError, PluginError, short


@dataclass(frozen=True)
class Packed:
    """A contender on its way to a process that is not forked, or to another machine; unpacked when needed there."""

    label: str
    code: str
    """See `Contender.code`: what is unpacked must run the same."""
    loads: str
    """See `Contender.loads`."""
    data: bytes

    def unpacked(self) -> Contender:
        """The contender.

        Raises:
            MethodError: if it cannot be loaded, or is of other code than where it was packed.
        """
        try:
            made: Contender = pickle.loads(self.data)
        except Exception as error:  # a stranger's module is imported
            raise MethodError(f"method {self.label!r} cannot be loaded: {short(error)}") from error
        if sources.digest(type(made.method)) != self.code:
            raise MethodError(f"the code of method {self.label!r} is not what the run began with; begin it again")
        return made


def packed(one: Contender) -> Packed:
    """Pack a contender.

    Raises:
        PluginError: if that cannot be.
    """
    try:
        return Packed(one.label, one.code, one.loads, pickle.dumps(one))
    except Exception as error:
        why = f"{short(error)}; give it fields that can be pickled"
        raise PluginError(f"method {one.label!r} cannot be sent to another process: {why}") from error
