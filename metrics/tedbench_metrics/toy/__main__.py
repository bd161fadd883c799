"""`python -m tedbench_metrics.toy clip-a|clip-b|oracle --out FOLDER`: train one of the toy world's judges."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from tedbench_metrics.toy import clips, jobs


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what the command line asks for; a run that was cut off goes on where it was."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = vars(_parser().parse_args(given))
    what = options.pop("what")
    work = options.pop("work") or options["out"].parent / f"{options['out'].name}-work"
    job = jobs.Job(work=work, command=_command(what, options), **options)
    if what == "oracle":
        jobs.train_reader(job)
    else:
        jobs.train_clip(clips.KINDS[what], job)


def _command(what: str, options: dict[str, object]) -> str:
    """As the card tells it: without folders of this machine."""
    kept = {key: options[key] for key in ("steps", "batch", "groups", "device") if options[key] is not None}
    return shlex.join([what, *(f"--{key}={value}" for key, value in kept.items())])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tedbench_metrics.toy", description=__doc__)
    parser.add_argument("what", choices=[*clips.KINDS, "oracle"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights and their card")
    parser.add_argument("--work", type=Path, help="folder of pictures and checkpoints, by default beside --out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, help="more or fewer than planned")
    parser.add_argument("--batch", type=int, help="pictures a step")
    parser.add_argument("--groups", type=int, default=jobs.Job.groups, help="groups of four pictures to draw")
    parser.add_argument("--held-out", type=int, default=jobs.Job.held_out, help="pictures that a check looks at")
    parser.add_argument("--photographs", type=Path, help="photographs that the oracle is to refuse, for its card only")
    parser.add_argument("--save-every", type=int, default=jobs.Job.save_every, help="steps between checkpoints")
    parser.add_argument("--stop-at", type=int, help="leave off before this step; a later run goes on")
    return parser


if __name__ == "__main__":
    main()
