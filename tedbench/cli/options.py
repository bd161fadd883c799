"""Options that several commands share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Optional

import typer

from tedbench.errors import UsageError

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Folder of a run, or its address, s3://BUCKET/NAME.", show_default=False)
]
DatasetOption = Annotated[str, typer.Option("--dataset", help="tedbench, tedbench++ or folder.")]
DataOption = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads the annotation at run time)
    typer.Option("--data", help="Folder of the data set. Default: TEDBENCH_DATA, then what `data fetch` fetched."),
]
CaptionsOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--captions",
        help="JSON file of source captions, or tedbench-observed: ours. For metrics that need the input described.",
    ),
]


def here(out: Path | None) -> Path | None:
    """An --out that is a folder or file of this machine.

    Raises:
        UsageError: for an address, of which a path has made another thing already.
    """
    if out is not None and re.match(r"[a-z][a-z0-9+.-]+:/", str(out)):
        raise UsageError(f"--out {out}: only `tedbench run` writes to an address; name a path here")
    return out
