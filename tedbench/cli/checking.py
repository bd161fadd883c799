"""`tedbench check`: whether a method keeps its contract."""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    spec: Annotated[
        str,
        typer.Argument(metavar="SPEC", help="NAME, NAME@PRESET, NAME?field=value or module:Class.", show_default=False),
    ],
    model: Annotated[
        str,
        typer.Option("--model", metavar="PATH", help="Model for a method that has one: tiny-…, a folder or a hub id."),
    ] = "tiny-sd1",
) -> None:
    """Try a method on two small pictures, with a tiny random model, and tell which promises it keeps.

    A method that offers a preset named check is tried with it, unless SPEC picks another: a fit may take long.
    """
    from tedbench import contenders, registry

    cls = registry.load(registry.find("method", registry.parse(spec)[0]))
    quick = "check" in getattr(cls, "presets", {}) and not registry.picks_preset("method", spec)
    method = registry.build("method", spec, {"preset": "check"} if quick else {}, model=model)
    contenders.check_class(spec, cls)
    contract = registry.load(registry.find("contract", "method"))
    kept, broken = 0, 0
    for finding in contract(method).findings():
        mark = {True: "kept", False: "BROKEN", None: "-"}[finding.kept]
        typer.echo(f"{mark:7} {finding.promise}{': ' if finding.why else ''}{finding.why}")
        kept, broken = kept + (finding.kept is True), broken + (finding.kept is False)
    typer.echo(f"{spec}: {kept} promises kept, {broken} broken")
    if broken:
        raise typer.Exit(7)
