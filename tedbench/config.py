"""What a run is asked to do: data set, methods, strengths, seeds. From flags, a TOML file, or a run's own run.json.

    dataset = "tedbench"
    data = "../data"          # relative to this file
    limit = 4
    seeds = [0, 1]
    keep_fits = true          # in the run's folder
    time_limit = 600          # seconds an image may take; none if left out
    metrics = ["lpips-alex@256", "clip-text"]   # scored once nothing is missing
    devices = ["cuda:0", "cuda:1"]              # a worker for each; auto if left out
    [[methods]]
    name = "imagic"           # or module:Class, or NAME@PRESET
    strengths = "0:1:0.1"     # or a list
    model = "../models/sd15"  # every other key is a field of the method; ./ and ../ are relative to this file

Flags beside a file or a run overrule it: those on data and seeds replace the file's, `--method` replaces its list of
methods, and `--strengths`, `--model`, `--device`, `--set` and `--extrapolate` replace the keys of its methods.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tedbench import models, naming, ranges, registry
from tedbench.datasets import toybench
from tedbench.errors import StoreError, UnknownName, UsageError, short
from tedbench.types import Run

PATHS = ("model", "folder", "fits")
"""Fields of a method whose text is a path even without a separator, if such a file or folder exists."""
TYPED = ("dataset", "data", "captions", "source", "limit", "keep_fits", "time_limit")
"""Fields of `Flags` that go into `RunConfig` as they are."""
NOT_ASKED = ("paths", "png_level", "threads")
"""What run.json keeps under `config` that is read another way, or is a fact and was not asked for."""


@dataclass(frozen=True)
class MethodConfig:
    """One method of a run, as it was asked for."""

    spec: str
    """`NAME[@PRESET][?field=value]` or `module:Class`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Field → value, beside what the spec says."""
    label: str = ""
    """What tables and folders call it; by its name if empty."""
    strengths: tuple[float, ...] | None = None
    """None for the method's own grid."""
    where: str = field(default="", compare=False)
    """The file and table that it was written in, for messages; empty for what was typed."""


@dataclass(frozen=True)
class RunConfig:
    """A run, as it was asked for. Paths count from where the program runs."""

    methods: tuple[MethodConfig, ...]
    dataset: str = "tedbench"
    data: Path | None = None
    captions: str = ""
    """A file, or the name of one that ships; empty for none."""
    source: str = "folder"
    revision: str = ""
    """Commit of a hub's copy."""
    limit: int | None = None
    """Take the first pairs only."""
    seeds: tuple[int, ...] = (0,)
    keep_fits: bool = False
    """Whether methods keep their fits in the run's folder, so that a further strength needs no new one."""
    time_limit: float = 0.0
    """Seconds an image may take, its part of the fit included; 0 for no limit."""
    metrics: tuple[str, ...] = ()
    """Specs of what the images are scored with once nothing is missing; no part of what a sweep is known by."""
    devices: tuple[str, ...] = ()
    """One worker for each, whose methods run there; empty for one worker and what each method says."""


@dataclass(frozen=True)
class Flags:
    """What was typed beside, or instead of, a file. None and empty mean: not typed."""

    dataset: str | None = None
    data: Path | None = None
    captions: str | None = None
    source: str | None = None
    limit: int | None = None
    seeds: str | None = None
    metrics: Sequence[str] = ()
    """Lists of specs, separated by commas."""
    methods: Sequence[str] = ()
    strengths: Sequence[str] = ()
    """`RANGE` for all methods, `METHOD=RANGE` for one."""
    model: str | None = None
    device: str | None = None
    """One, for every method that has the field; or several, separated by commas, with a worker each."""
    fields: Sequence[str] = ()
    """`field=value` for every method that has it, `METHOD.field=value` for one."""
    extrapolate: bool = False
    keep_fits: bool | None = None
    time_limit: float | None = None


def from_run(run: Run, folder: Path) -> RunConfig:
    """The configuration of a run, so that it can go on or be repeated.

    Raises:
        StoreError: if the run was not made by `tedbench run`.
    """
    if run.kind != "run" or not run.config:
        raise StoreError(f"{folder} holds images that were imported; only what `tedbench run` made can go on")
    lists: dict[str, Any] = {
        key: tuple(run.config[key]) for key in ("seeds", "metrics", "devices") if key in run.config
    }
    raw = {key: value for key, value in run.config.items() if key not in (*lists, *NOT_ASKED)}
    try:
        found = {label: _found(folder, named) for label, named in run.config.get("paths", {}).items()}
        methods = [_recorded(label, {**fields, **found.get(label, {})}) for label, fields in run.methods.items()]
        config = RunConfig(tuple(methods), **lists, **raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{folder}/run.json is not one of ours ({short(error)}); run anew elsewhere") from error
    captions = os.path.normpath(folder.resolve() / config.captions) if config.captions else ""
    return replace(
        config,
        data=Path(os.path.normpath(folder.resolve() / config.data)) if config.data else None,
        captions=captions if captions and Path(captions).exists() else config.captions,
    )


def recorded(config: RunConfig, location: str, out: Path) -> dict[str, Any]:
    """What run.json keeps of a configuration besides its methods; the inverse of `from_run`.

    Args:
        config: as it was asked for.
        location: folder that the pairs were read from.
        out: the run's folder, which paths are made relative to, so that a run can be shared with its data beside it.
    """
    place = location or (str(config.data) if config.data else "")
    shipped = not (config.captions and Path(config.captions).exists())
    return {
        "dataset": config.dataset,
        "data": os.path.relpath(place, out) if place else "",
        "captions": config.captions if shipped else os.path.relpath(config.captions, out),
        "source": config.source,
        "revision": config.revision,
        "limit": config.limit,
        "seeds": list(config.seeds),
        "keep_fits": config.keep_fits,
        "time_limit": config.time_limit,
        "metrics": list(config.metrics),
        "devices": list(config.devices),
    }


def paths(fields: Mapping[str, Any], out: Path) -> dict[str, str]:
    """The fields of a method that name something on this disk, as paths from the run's folder.

    What was asked is recorded as it was typed, and this beside it: a run goes on from another folder, or shared with
    its models beside it. Since `lora` can be a word of a method and a folder too, a text is a path where it has a
    separator or stands in one of `PATHS`, and something of that name exists.
    """
    return {name: os.path.relpath(path, out) for name, path in places(fields).items()}


def places(fields: Mapping[str, Any]) -> dict[str, Path]:
    """The fields of a method that name something on this disk, see `paths`."""
    texts = {name: value for name, value in fields.items() if isinstance(value, str) and value}
    named = {name: Path(value).expanduser() for name, value in texts.items() if os.sep in value or name in PATHS}
    return {name: path for name, path in named.items() if naming.exists(path)}


def override(config: RunConfig, flags: Flags) -> RunConfig:
    """A configuration with what was typed in place of what it says.

    Raises:
        UsageError: for a value that cannot be read, a field that no method has, or a range for no method.
        UnknownName, PluginError: as the methods are at fault.
    """
    typed = {name: getattr(flags, name) for name in TYPED}
    changed = {name: value for name, value in typed.items() if value is not None}
    if flags.dataset is not None and flags.data is None:
        changed["data"] = None  # the folder of another data set
    if flags.seeds is not None:
        changed["seeds"] = ranges.seeds(flags.seeds)
    if flags.metrics:
        changed["metrics"] = tuple(spec for group in flags.metrics for spec in registry.split(group))
    if flags.time_limit is not None and not math.isfinite(flags.time_limit):
        raise UsageError(f"--time-limit {flags.time_limit}: write seconds, or 0 for no limit")
    if flags.device is not None:
        changed["devices"] = _several(flags.device)
    methods = tuple(MethodConfig(spec) for spec in flags.methods) or config.methods
    if not methods:
        raise UsageError("no method; name one with --method NAME, and see `tedbench list`")
    for text in flags.strengths:
        methods = _with_strengths(methods, text)
    for name, value, called, wanted in _settings(flags):
        methods = _with_field(methods, name, value, called, wanted)
    changed_config = replace(config, **changed, methods=methods)
    return _on_toy_model(changed_config) if toybench.is_name(changed_config.dataset) else changed_config


def _several(device: str) -> tuple[str, ...]:
    """The devices of a list; none where it is one."""
    parts = tuple(part.strip() for part in device.split(","))
    for part in parts if len(parts) > 1 else ():
        models.check_device(part)
    return parts if len(parts) > 1 else ()


def _on_toy_model(config: RunConfig) -> RunConfig:
    """The toy model for every method that names none: no other knows the toy world."""

    def lacks_model(method: MethodConfig) -> bool:
        has, fixed = registry.set_by("method", method.spec)
        return "model" in has - fixed and "model" not in method.options

    options = {"model": toybench.NAME}
    methods = (replace(one, options={**one.options, **options}) if lacks_model(one) else one for one in config.methods)
    return replace(config, methods=tuple(methods))


def _found(folder: Path, named: Mapping[str, str]) -> dict[str, str]:
    places = {name: Path(os.path.normpath(folder.resolve() / path)) for name, path in named.items()}
    return {name: str(place) for name, place in places.items() if naming.exists(place)}


def _recorded(label: str, fields: dict[str, Any]) -> MethodConfig:
    fields.pop("spec")
    return MethodConfig(fields.pop("name"), label=label, strengths=tuple(fields.pop("strengths")), options=fields)


def _settings(flags: Flags) -> Iterable[tuple[str, Any, str, str]]:
    """(field, value, what was typed, which method or all) of every flag that sets a field."""
    if flags.model is not None:
        yield "model", flags.model, "--model", ""
    if flags.device is not None and not _several(flags.device):
        yield "device", flags.device, "--device", ""
    if flags.extrapolate:
        yield "extrapolate", True, "--extrapolate", ""
    for text in flags.fields:
        key, equals, value = text.partition("=")
        if not equals or not key.rpartition(".")[2]:
            raise UsageError(f"--set {text!r}: write field=value, or METHOD.field=value for one method")
        yield key.rpartition(".")[2], value, f"--set {text}", key.rpartition(".")[0]


def _with_field(
    methods: Sequence[MethodConfig], name: str, value: Any, called: str, wanted: str
) -> tuple[MethodConfig, ...]:
    asked = _named(methods, wanted, called) if wanted else set(range(len(methods)))
    done, all_fields, taken = list(methods), set[str](), False
    for at in asked:
        has, fixed = registry.set_by("method", methods[at].spec)
        all_fields |= has
        if name in has and name not in fixed:  # what stands in the spec itself was typed for this one method
            done[at] = replace(methods[at], options={**methods[at].options, name: value})
            taken = True
        elif name in fixed and wanted:
            raise UsageError(f"{called}: {methods[at].spec!r} sets {name} itself; keep one")
    if not taken and name in all_fields:
        raise UsageError(f"{called}: every method that has {name} sets it in its own spec; keep one")
    if not taken and called.startswith("--set"):
        raise UnknownName("field of the methods of this run", name, all_fields)
    if not taken:
        raise UsageError(f"{called}: no method of this run has a field {name!r}; leave it out")
    return tuple(done)


def _with_strengths(methods: Sequence[MethodConfig], text: str) -> tuple[MethodConfig, ...]:
    wanted, equals, values = text.rpartition("=")
    asked = _named(methods, wanted, f"--strengths {text}") if equals else set(range(len(methods)))
    strengths = ranges.strengths(values)
    return tuple(replace(method, strengths=strengths) if at in asked else method for at, method in enumerate(methods))


def _named(methods: Sequence[MethodConfig], wanted: str, called: str) -> set[int]:
    """Places of the methods that a label, a spec or a name stands for."""
    names = [{one.label, one.spec, registry.parse(one.spec)[0]} - {""} for one in methods]
    found = {at for at, known in enumerate(names) if wanted in known}
    if not found:
        raise UnknownName(f"method of this run ({called})", wanted, set().union(*names))
    return found
