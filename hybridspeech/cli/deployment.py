"""The commands that prepare a cluster: `pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import Json, Overwrite
from hybridspeech.cli.terminal import ProgressReporter, print_fields, print_json


@app.command(short_help="Pack this environment for the nodes of a cluster.")
def pack(
    out: Annotated[Path, typer.Argument(help="Archive to write; its name ends in .tar.gz.")],
    extras: Annotated[
        str | None,
        typer.Option(help="Extras to put in, such as spark,s3.  [default: all installed ones that nodes may need]"),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write interpreter, packages and hybridspeech to an archive that starts on nodes without Python."""
    from hybridspeech.commands.pack import pack

    chosen = None if extras is None else [extra for extra in extras.split(",") if extra]
    with ProgressReporter() as report:
        result = pack(out, extras=chosen, overwrite=overwrite, on_progress=report)
    if json:
        return print_json(result)
    packed = result.environment
    return print_fields(
        {
            "archive": f"{result.out}, {result.num_bytes / 1e6:,.0f} MB ({packed.num_bytes / 1e6:,.0f} MB unpacked)",
            "holds": f"Python {packed.python}, hybridspeech {packed.hybridspeech}, {len(packed.packages)} packages",
            "extras": ", ".join(packed.extras) or "none",
            "nodes": f"{packed.machine}, glibc {packed.glibc} or later",
            "next": f"add --environment {result.out} to preprocess, train or run",
        }
    )
