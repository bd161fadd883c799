"""`tedbench status`, `gc` and `merge`: runs as folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tedbench.cli.options import RunArgument, here
from tedbench.errors import UsageError

SHOWN = 10
"""Damaged files that are named."""


def status(run: RunArgument) -> None:
    """Say how far a run is, from another terminal too; of an address, from another machine."""
    from tedbench.remote import addresses, leases, mirror
    from tedbench.running import planning

    found = planning.status(mirror.local(run, with_sweeps=False))
    running = found.running or (addresses.is_address(run) and leases.is_held(addresses.Address(run)))
    state = "running" if running else "not running"
    share = f"{found.done}/{found.images} images" if found.images else "nothing begun"
    typer.echo(f"{run}: {state}, {share}, {found.failed} failed in the last call")
    if found.rate:
        typer.echo(f"{found.rate:.3g} images/s")
    if running and found.seconds_left is not None:
        typer.echo(f"about {length(found.seconds_left)} left")
    if found.last:
        what = found.last.get("sweep", "")
        typer.echo(f"last: {found.last['event']} {what} at {found.last['at']}".replace("  ", " "))


def gc(
    run: RunArgument,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them, after asking.")] = False,
    fits: Annotated[bool, typer.Option("--fits", help="The fits that --keep-fits kept, and no sweeps.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --delete: do not ask.")] = False,
) -> None:
    """List sweeps that the run's configuration does not refer to: what was made under others, and stayed; kept fits."""
    from tedbench import config, store
    from tedbench.remote import addresses, mirror
    from tedbench.running import keeping

    if delete and addresses.is_address(run):
        raise UsageError(f"{run}: gc only lists there; other machines' copies would bring back what is deleted")
    folder = mirror.local(run)
    opened = store.open_run(folder).run
    kept = keeping.fits(folder)
    if kept.files:
        typer.echo(f"{folder / store.FITS}: {len(kept.files)} fits, {size(kept.bytes)}")
    if fits:
        _drop_fits(folder, len(kept.files), delete, yes)
        return
    found = keeping.unasked(config.from_run(opened, folder), folder)
    if found.lines:
        typer.echo(f"{run}: {found.lines} lines of its journal are damaged, and count for nothing")
    if not found.entries and not found.lines:
        typer.echo(f"{run}: every sweep there is asked for")
        return
    for label, n in found.by_method.items():
        typer.echo(f"  {label}: {n} sweeps")
    typer.echo(f"{run}: {len(found.entries)} sweeps that nothing refers to, {size(found.bytes)} of images")
    if not delete:
        typer.echo("kept; --delete removes them")
        return
    if not yes and not typer.confirm(f"Delete {len(found.files)} files?"):
        raise UsageError("nothing was deleted")
    keeping.remove(found, folder)
    typer.echo(f"deleted {len(found.files)} files")


def _drop_fits(run: Path, n: int, delete: bool, yes: bool) -> None:
    from tedbench.running import keeping

    if not n:
        typer.echo(f"{run}: no fits are kept")
    elif not delete:
        typer.echo("kept; --fits --delete removes them")
    elif not yes and not typer.confirm(f"Delete {n} fits? No image needs them; a further strength would fit anew."):
        raise UsageError("nothing was deleted")
    else:
        keeping.remove_fits(run)
        typer.echo(f"deleted {n} fits")


def merge(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Parts of one run.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder of the whole; it must not be there yet.", callback=here)],
) -> None:
    """Put the parts of one run together, such as shards; runs that were asked for different things are refused."""
    from tedbench.remote import mirror
    from tedbench.running import keeping

    merged = keeping.merge([mirror.local(run) for run in runs], out)
    counts = merged.cells()["status"].value_counts().to_dict()
    told = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("ok", "failed", "missing"))
    typer.echo(f"{out}: {told}")


def verify_folder(run: Path, options: Sequence[str]) -> None:
    """Say which files of a run are damaged or missing; of `tedbench verify RUN`.

    Raises:
        UsageError: if options of a submission's archive were given.
        Differs: if any is.
    """
    from tedbench.running import damage

    if options:
        raise UsageError(f"{options[0]} is for a submission's archive, and {run} is a folder; leave it out")
    found = damage.check(run)
    typer.echo(f"{run}: {found.images} images and {found.records} records were looked at")
    for one in found.damaged[:SHOWN]:
        typer.echo(f"  {one.name}: {one.why}")
    if len(found.damaged) > SHOWN:
        typer.echo(f"  and {len(found.damaged) - SHOWN} more")
    found.confirm()
    typer.echo("whole")


def length(seconds: float) -> str:
    """A time to read."""
    for unit, of in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * of:
            return f"{seconds / of:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(n: float) -> str:
    """A number of bytes to read."""
    for unit, of in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= of:
            return f"{n / of:.1f} {unit}"
    return f"{n:.0f} bytes"
