"""The options that say what to run; `run` and `plan` have them all."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

SourceArgument = Annotated[
    Optional[str],  # noqa: UP045  (typer reads the annotation at run time)
    typer.Argument(
        metavar="CONFIG.toml | RUN",
        help="A TOML file that says what to run, or a run to go on with, its folder or address. Flags overrule both.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--out",
        metavar="RUN",
        help="Run folder, e.g. results/NAME, or address, e.g. s3://BUCKET/NAME; an interrupted run there goes on.",
        show_default=False,
    ),
]
MethodsOption = Annotated[
    list[str],
    typer.Option(
        "--method",
        metavar="SPEC",
        help="NAME, NAME@PRESET, NAME?field=value or module:Class; may be repeated. `tedbench list` shows names.",
        show_default=False,
    ),
]
DatasetName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="tedbench, tedbench++, toy:dev:12 and the like, or folder. Default: tedbench.",
        show_default=False,
    ),
]
SourceName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--source",
        metavar="NAME",
        help="folder, or hub: the Hugging Face hub's copy. Default: folder.",
        show_default=False,
    ),
]
CaptionsName = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--captions",
        metavar="FILE",
        help="JSON file of source captions, or tedbench-observed: ours. For methods that need them.",
    ),
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--limit", metavar="N", help="Take the first N pairs only; every table will say so.", show_default=False
    ),
]
SeedsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--seeds", metavar="LIST", help="0,1 or 0:4:1, both ends included. Default: 0.", show_default=False),
]
StrengthsOption = Annotated[
    list[str],
    typer.Option(
        "--strengths",
        metavar="RANGE",
        help="0:1:0.1, both ends included, or 0,0.5,1; METHOD=… for one method. Default: each method's own.",
        show_default=False,
    ),
]
ExtrapolateOption = Annotated[
    bool, typer.Option("--extrapolate", help="Allow strengths beyond a method's range, where it can.")
]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--model", metavar="PATH", help="Model folder or hub id, for every method that has one.", show_default=False
    ),
]
DeviceOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:N or mps, for every method that has one; cuda:0,cuda:1 for a worker on each.",
        show_default=False,
    ),
]
MetricsOption = Annotated[
    list[str],
    typer.Option(
        "--metrics",
        metavar="LIST",
        help="Score with these, separated by commas, once nothing is missing; as `tedbench score` does.",
        show_default=False,
    ),
]
FieldsOption = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="field=value for every method that has the field, METHOD.field=value for one; may be repeated.",
        show_default=False,
    ),
]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed", help="Do again what failed in an earlier call on this folder.")
]
FailFastOption = Annotated[bool, typer.Option("--fail-fast", help="End at the first failure.")]
TimeLimitOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--time-limit",
        metavar="SECONDS",
        min=0,
        help="An image may take, on average in a sweep; 0 for no limit. Default: the run's own, or none.",
        show_default=False,
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads",
        metavar="N",
        min=0,
        help="Of a worker; counts move the last bits. Default: the run's own, OMP_NUM_THREADS, this machine's CPUs; "
        "1 under Ray.",
    ),
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", metavar="local|ray", help="Where: on this machine, or by workers of a Ray cluster.")
]
AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Of the Ray cluster: HOST:PORT, or auto. Default: one of this machine alone.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", metavar="N", min=0, help="Of Ray; 0 for as many as there is room for.")
]
GpusOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        "--gpus",
        metavar="N",
        min=0,
        help="That a Ray worker takes, or a part of one, as 0.5. Default: 1 where there is any.",
        show_default=False,
    ),
]
WatchOption = Annotated[
    list[str],
    typer.Option(
        "--watch",
        metavar="NAME",
        help="Also tell tensorboard, wandb or module:Class how it goes; may be repeated.",
        show_default=False,
    ),
]
ShardOption = Annotated[
    str,
    typer.Option("--shard", metavar="K/N", help="Do the K-th of N parts, for job arrays; `tedbench merge` joins them."),
]
KeepFitsOption = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option(
        "--keep-fits/--drop-fits",
        help="Keep what methods learn of a pair in RUN/fits: further strengths need no new fit. Default: dropped.",
        show_default=False,
    ),
]
