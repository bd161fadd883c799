"""Who else is told how a run goes: TensorBoard, Weights & Biases, or a class of yours; nobody unless asked for.

A watcher is made with the run's folder and has two functions: `log(values, step)`, called after each sweep, and
`close()`. One that raises is told no more, and the run goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tedbench import registry
from tedbench.errors import PluginError, TedbenchError, UsageError, short

FOLDER = "watch"
"""Inside the run's folder, for those that write files."""


class Watcher(Protocol):
    """Who is told."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Take numbers by name, at a number of images that is larger each time."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class Watch:
    """Tells watchers what the events of a run come to.

    Args:
        names: of `--watch`, plug-ins or `module:Class`.
        out: the run's folder.

    Raises:
        UnknownName, PluginError, UsageError: as a name or its package is at fault, before anything is run.
    """

    def __init__(self, names: Sequence[str], out: Path) -> None:
        self._watchers = {name: _made(name, out) for name in names}
        self._done = self._failed = self._before = 0
        self._began = time.monotonic()

    def see(self, event: str, more: Mapping[str, Any]) -> str:
        """Take an event of the run.

        Returns:
            Which watchers raised and will be told no more; empty where all is well.
        """
        if event == "begin":
            self._done = self._before = int(more["done"])
            self._began = time.monotonic()
        elif event == "sweep":
            self._done += int(more["images"])
        elif event == "failed":
            self._failed += int(more["images"])
        rate = (self._done - self._before) / max(1e-9, time.monotonic() - self._began)
        values = {"images/done": self._done, "images/failed": self._failed, "images/per_second": rate}
        return self._each("log", values, self._done) if event == "sweep" else ""

    def close(self) -> None:
        """Close every watcher."""
        self._each("close")
        self._watchers.clear()

    def _each(self, what: str, *of: Any) -> str:
        broken = []
        for name, watcher in list(self._watchers.items()):
            try:
                getattr(watcher, what)(*of)
            except Exception as error:  # noqa: BLE001  (a watcher must not end what it watches)
                broken.append(f"{name}: {short(error)}")
                del self._watchers[name]
        return "; ".join(broken)


class TensorBoard:
    """Files for `tensorboard --logdir RUN/watch`."""

    def __init__(self, out: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError as error:
            raise _lacking("tensorboard") from error
        self._writer = Writer(str(out / FOLDER))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """As scalars."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


class WandB:
    """A run of the project that WANDB_PROJECT names, or `tedbench`; WANDB_MODE=offline keeps it in RUN/watch."""

    def __init__(self, out: Path) -> None:
        import os

        try:
            import wandb
        except ImportError as error:
            raise _lacking("wandb") from error
        (out / FOLDER).mkdir(parents=True, exist_ok=True)
        try:
            project = os.environ.get("WANDB_PROJECT", "tedbench")
            self._run = wandb.init(
                project=project, name=out.name, dir=str(out / FOLDER), settings=wandb.Settings(silent=True)
            )
        except Exception as error:
            raise UsageError(f"--watch wandb: {short(error)}; log in, or set WANDB_MODE=offline") from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """As one row of its history."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Have everything sent or kept."""
        self._run.finish()


def _made(name: str, out: Path) -> Watcher:
    try:
        made: Watcher = registry.load(registry.find("watcher", name))(out)
    except TedbenchError:
        raise
    except Exception as error:
        raise PluginError(f"--watch {name}: {short(error)}; leave it out, or mend it") from error
    return made


def _lacking(package: str) -> UsageError:
    return UsageError(f"--watch {package}: {package} is not installed; pip install 'tedbench-editing[watch]'")
