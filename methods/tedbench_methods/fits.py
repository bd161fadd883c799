"""What Imagic learned of one pair, and the folder where such fits are kept: a fit costs minutes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tedbench import facts
from tedbench.errors import MethodError, short
from tedbench.types import EditPair
from tedbench_methods.backbones import Backbone, Text

_FORMAT = "tedbench-imagic-fit-1"
_ABOUT = ("model", "content", "pair", "seconds")
"""Fields that go into a file's metadata."""


@dataclass(frozen=True, eq=False)
class Fit:
    """e_tgt, e_opt and what the networks learned, on the CPU or a GPU; can be pickled, saved and shared."""

    model: str
    """Name of the model it was made on, for people."""
    content: str
    """Hash of that model's files, wherever they lie; a fit is of no use to another model."""
    pair: str
    """What it was made for, see `made_for`."""
    e_tgt: Text
    e_opt: Text
    weights: Mapping[str, Mapping[str, Tensor]]
    """Network → parameter → value: all of them, or LoRA adapters; empty without fine-tuning."""
    losses: Mapping[str, Tensor]
    """Stage → the loss before each of its steps."""
    seconds: float = 0.0
    """What making it took."""

    def check(self, backbone: Backbone, pair: EditPair) -> None:
        """Refuse to serve another model or pair.

        Raises:
            MethodError: saying which it was made for.
        """
        if self.content != backbone.content:
            raise MethodError(
                f"the fit was made on {self.model}, the model is {backbone.name}; fit again, or load that"
            )
        if self.pair != made_for(pair):
            raise MethodError(f"the fit was made for {self.pair}, the pair is {made_for(pair)}; fit again")

    def save(self, path: str | Path, about: Mapping[str, str] | None = None) -> None:
        """Write it as safetensors, whole or not at all.

        Args:
            path: file to write.
            about: more for the file's metadata.

        Raises:
            MethodError: if it cannot be written.
        """
        path = Path(path)
        tensors = {f"{name}/{part}": value for name, e in (("e_tgt", self.e_tgt), ("e_opt", self.e_opt))
                   for part, value in e.parts.items()}  # fmt: skip
        tensors |= {f"weights/{network}/{key}": v for network, w in self.weights.items() for key, v in w.items()}
        tensors |= {f"loss/{stage}": loss for stage, loss in self.losses.items()}
        on_cpu = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fit", dir=path.parent) as scratch:
                written = Path(scratch) / path.name
                origin = {name: str(getattr(self, name)) for name in _ABOUT}
                save_file(on_cpu, written, {"format": _FORMAT, **origin, **(about or {})})
                written.replace(path)
        except (OSError, SafetensorError) as error:
            raise MethodError(f"fit {path} cannot be written ({short(error, 90)}); nothing was kept there") from error

    @classmethod
    def load(cls, path: str | Path) -> Fit:
        """Read what `save` wrote.

        Raises:
            MethodError: if it is not there, not whole, or no fit.
        """
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        except (OSError, SafetensorError) as error:
            raise MethodError(f"fit {path} cannot be read ({short(error, 90)}); delete it and fit again") from error
        known = {"e_tgt", "e_opt", "weights", "loss"}
        if about.get("format") != _FORMAT or {name.partition("/")[0] for name in tensors} - known:
            raise MethodError(f"{path} is no fit of ours; give a file that Fit.save wrote")
        found: dict[str, dict[str, Any]] = {"e_tgt": {}, "e_opt": {}, "weights": {}, "loss": {}}
        for name, value in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "weights":
                network, _, key = rest.partition("/")
                found[kind].setdefault(network, {})[key] = value
            else:
                found[kind][rest] = value
        texts = Text(found["e_tgt"]), Text(found["e_opt"])
        model, content, pair = (about.get(name, "") for name in _ABOUT[:3])
        return cls(model, content, pair, *texts, found["weights"], found["loss"], float(about.get("seconds") or 0))


def made_for(pair: EditPair) -> str:
    """What moves a fit of a pair: its uid, which the noise comes from, its image and its target text."""
    return f"{pair.uid} ({pair.image.sha256[:12]}, {pair.target_text!r})"


class Shelf:
    """Where one fit would be kept: a name that everything which moves it goes into."""

    def __init__(self, folder: str, fields: Mapping[str, Any], backbone: Backbone, pair: EditPair, seed: int) -> None:
        # What `auto` has become, and not the word; and the model by its content, wherever it lies.
        computed = {"model": backbone.content, "device": backbone.device.type, "dtype": str(backbone.dtype)}
        key = {**fields, **computed, "pair": made_for(pair), "seed": seed}
        self._about = json.dumps(key, sort_keys=True)
        name = f"{pair.uid}--s{seed}-{hashlib.sha256(self._about.encode()).hexdigest()[:12]}.safetensors"
        self._path = Path(folder).expanduser() / name if folder else None

    @staticmethod
    def check(folder: str) -> None:
        """Make the folder of fits, so that what cannot be written to is known before anything was fitted.

        Raises:
            MethodError: if it cannot be made or written to.
        """
        if not folder:
            return
        try:
            Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fit", dir=Path(folder).expanduser()):
                pass
        except OSError as error:
            raise MethodError(f"fits cannot be kept in {folder} ({error.strerror}); name another folder") from error

    def find(self) -> Fit | None:
        """The fit kept there, if any."""
        if self._path is None or not self._path.exists():
            return None
        facts.note(fit_from=self._path.name)
        return Fit.load(self._path)

    def keep(self, fit: Fit) -> None:
        """Put a fit there, if there is a folder for fits."""
        if self._path is not None:
            fit.save(self._path, {"about": self._about})
