"""The methods of a run, built and checked: what each is called, and which strengths it is asked for."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tedbench import facts, keys, naming, ranges, registry, sources
from tedbench.config import MethodConfig, places
from tedbench.errors import DataError, PluginError, TedbenchError, UsageError, short
from tedbench.types import EditPair, Method, Strength

CONTRACT = ("strength", "fit", "edit")
"""What the class of a method has, see `types.Method`."""
RESERVED = ("name", "spec", "label", "strengths")
"""Keys of a configuration that are no fields, so a field of that name could not be set."""


@dataclass(frozen=True)
class Contender:
    """A method that takes part in a run."""

    label: str
    """What tables and folders call it."""
    spec: str
    """What the user typed."""
    method: Method
    strengths: tuple[float, ...]
    fields: Mapping[str, Any]
    """Its whole configuration, resolved and as JSON holds it."""
    knob: Strength
    model: str = ""
    """What it said of its model when it was loaded, where it cannot say that before."""

    def recorded(self) -> dict[str, Any]:
        """What run.json keeps of it: enough to build it again."""
        name = registry.parse(self.spec)[0]
        return {"spec": self.spec, "name": name, "strengths": list(self.strengths), **self.fields}

    def turned_by(self) -> dict[str, Any]:
        """What run.json keeps of its strength, so that a report can name it and need not load the method."""
        return {"name": self.knob.name, "symbol": self.knob.symbol, "default": self.knob.default}

    @cached_property
    def code(self) -> str:
        """Digest of the code that its class runs, see `sources`; empty where there is none to read."""
        return sources.digest(type(self.method))

    @cached_property
    def revision(self) -> str:
        """What it says of its model without loading it; empty where it says nothing.

        Raises:
            TedbenchError: as the model is at fault.
            PluginError: for whatever else it raises.
        """
        ask = getattr(self.method, "revision", None)
        if not callable(ask):
            return self.model
        try:
            with contextlib.chdir("."):
                return str(ask())
        except (TedbenchError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise PluginError(f"method {self.label!r} cannot tell its model: {short(error)}") from error

    @cached_property
    def key(self) -> str:
        """Digest of what moves its pixels, whatever it is called; see `keys.of_method`."""
        target = registry.find("method", registry.parse(self.spec)[0]).target
        known = {name: value for name, value in self.fields.items() if name != "model" or not self.revision}
        found = {name: keys.of_place(path) for name, path in places(known).items() if name not in keys.EXECUTION}
        return keys.of_method(target, self.code, self.revision, {**known, **found})

    @property
    def loads(self) -> str:
        """The model that it was given, by which those are known that share one."""
        return str(self.fields.get("model", ""))

    @property
    def silent(self) -> bool:
        """Whether only loading tells which model it has."""
        return not self.revision and hasattr(self.method, "prepare")


def build(configs: Sequence[MethodConfig], fits: Path | None = None) -> list[Contender]:
    """Build the methods of a run.

    Args:
        configs: what was asked.
        fits: folder for the fits of those methods that can keep them and name no other; it is no part of what they
            are recorded as, since it goes where the run does.

    Raises:
        UnknownName, UsageError, PluginError: as spec, options, strengths or label are at fault.
    """
    labels = label(configs)
    made: list[Contender] = []
    for config, name in zip(configs, labels, strict=True):
        method = _built(config)
        knob = _knob(config.spec, method)
        fields = registry.field_values(method)
        taken = sorted(set(RESERVED) & set(fields))
        if taken:
            raise PluginError(f"method {config.spec!r}: a field cannot be called {taken[0]!r}; rename it in the class")
        with _told_where(config):
            strengths = _strengths(name, method, knob, config.strengths)
        if fits is not None and _can_keep(config, fields):
            method = _built(replace(config, options={**config.options, "fits": str(fits)}))
        made.append(Contender(name, config.spec, method, strengths, fields, knob))
    return made


def _built(config: MethodConfig) -> Any:
    with _told_where(config), contextlib.chdir("."):  # comes back here, wherever a module goes when it is imported
        return registry.build("method", config.spec, config.options)


@contextlib.contextmanager
def _told_where(config: MethodConfig) -> Iterator[None]:
    """An unknown field, or a value that cannot be: which of a file's tables says it."""
    try:
        yield
    except UsageError as error:
        if not config.where:
            raise
        raise UsageError(f"{config.where}: {error}") from error


def _can_keep(config: MethodConfig, fields: Mapping[str, Any]) -> bool:
    """Whether a method has a field for a folder of fits, and nobody has set it."""
    return fields.get("fits") == "" and "fits" not in registry.set_by("method", config.spec)[1]


def label(configs: Sequence[MethodConfig]) -> list[str]:
    """What each method is called: its label; else its name, with what was asked of it where two share the name.

    Raises:
        UsageError: if a label cannot name a folder, or is given twice.
    """
    for config in configs:
        if config.label:
            naming.check_label(config.label, "label")
    names = [config.label or _plain(f"{_name(config)}{_preset(config)}") for config in configs]
    shared = Counter(name.casefold() for name in names)
    labels: list[str] = []
    taken = {config.label.casefold() for config in configs if config.label}
    twice = [name for name, count in Counter(c.label.casefold() for c in configs if c.label).items() if count > 1]
    if twice:
        raise UsageError(f"two methods are labelled {twice[0]!r}; give each its own, they name folders")
    for config, name in zip(configs, names, strict=True):
        long = name if config.label or shared[name.casefold()] == 1 else _plain(f"{name}{_asked(config)}")
        labels.append(long if config.label else _free(long, taken))
        taken.add(labels[-1].casefold())
    return labels


def check_needs(contenders: Sequence[Contender], pairs: Sequence[EditPair]) -> None:
    """Refuse a method that needs what no pair has, before anything expensive.

    Raises:
        DataError: naming the method and what it needs.
    """
    for one in contenders:
        for need in sorted(getattr(one.method, "needs", ())):
            if not any(getattr(pair, need, None) is not None for pair in pairs):
                hint = "give source captions with --captions FILE" if need == "source_text" else "use other data for it"
                raise DataError(f"method {one.label!r} needs {need}, which no pair of this data set has; {hint}")


def prepare(contenders: Sequence[Contender]) -> dict[str, dict[str, Any]]:
    """Have each method load what it needs, and return what it notes by label: its model, device and so on.

    Raises:
        TedbenchError: as a model, device or network is at fault.
        PluginError: for whatever else a method raises.
    """
    noted: dict[str, dict[str, Any]] = {}
    for one in contenders:
        with facts.noted() as noted[one.label]:
            try:
                with contextlib.chdir("."):  # comes back here, wherever the method goes
                    getattr(one.method, "prepare", lambda: None)()
            except (TedbenchError, KeyboardInterrupt):
                raise
            except BaseException as error:  # a stranger's method can raise anything, and leave by sys.exit()
                raise PluginError(f"method {one.label!r} cannot be prepared: {short(error)}") from error
    return noted


def check_class(spec: str, cls: type[Any]) -> None:
    """Refuse a class that is no method.

    Raises:
        UsageError: naming what it lacks.
    """
    lacks = [name for name in CONTRACT if not hasattr(cls, name)]
    if lacks:
        raise UsageError(f"{spec!r} is not a method: its class lacks {', '.join(lacks)}; see methods/README.md")


def _knob(spec: str, method: Any) -> Strength:
    check_class(spec, type(method))
    try:
        knob = method.strength
    except (TedbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a stranger's property can raise anything
        raise PluginError(f"method {spec!r} cannot say its strength: {short(error)}") from error
    if not isinstance(knob, Strength):
        raise PluginError(f"method {spec!r}: strength is no tedbench.types.Strength; see methods/README.md")
    return knob


def _strengths(name: str, method: Any, knob: Strength, asked: tuple[float, ...] | None) -> tuple[float, ...]:
    if asked is None or knob.low == knob.high:  # nothing to turn, whatever is asked
        if not knob.grid:
            raise UsageError(f"method {name!r} has no strengths of its own; give them with --strengths")
        return ranges.strengths(list(knob.grid), f"grid of method {name!r}")
    outside = [strength for strength in asked if not knob.low <= strength <= knob.high]
    if outside and getattr(method, "extrapolate", False) is not True:
        can = hasattr(method, "extrapolate")
        hint = "; --extrapolate goes beyond" if can else ""
        raise UsageError(
            f"method {name!r}: {knob.name} {ranges.shown(outside[0])} is outside its range "
            f"[{knob.low:g}, {knob.high:g}]{hint}"
        )
    return asked


def _name(config: MethodConfig) -> str:
    return registry.parse(config.spec)[0].rpartition(":")[2]


def _preset(config: MethodConfig) -> str:
    """`-PRESET` where one was picked: a pipeline, or four steps for a try, is no small print."""
    if config.options.get("preset"):
        return f"-{config.options['preset']}"
    named = registry.parse(config.spec)[1]
    return f"-{named}" if named and registry.picks_preset("method", config.spec) else ""


def _asked(config: MethodConfig) -> str:
    """`-PRESET-field-value` of what was asked of a method beside its name."""
    _, value, options = registry.parse(config.spec)
    items = [f"{key}-{text}" for key, text in {**options, **config.options}.items() if key != "device"]
    return "".join(f"-{part}" for part in ([value] if value else []) + items)


def _plain(name: str) -> str:
    """A name with what cannot stand in a file name as -, and not too long to get a number."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", name).strip("-.")[: naming.LONGEST - 4] or "method"


def _free(name: str, taken: set[str]) -> str:
    free, count = name, 2
    while free.casefold() in taken:
        free, count = f"{name}-{count}", count + 1
    return free
