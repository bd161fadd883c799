"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

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
