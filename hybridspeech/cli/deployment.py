"""The commands that prepare a cluster: `pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import Json, Overwrite
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json


@app.command("pack", cls=Command, short_help="Pack this environment for the nodes of a cluster.")
@with_settings(SETTINGS)
def pack_command(
    out: Annotated[Path, argument("OUT", "Archive to create; its name ends in .tar.gz.")],
    *,
    extras: Annotated[
        str | None,
        option("Extras to include, e.g. spark,s3.", OUTPUT, default="all installed extras that nodes may need"),
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
            "content": f"Python {packed.python}, hybridspeech {packed.hybridspeech}, {len(packed.packages)} packages",
            "extras": ", ".join(packed.extras) or "none",
            "nodes": f"{packed.machine}, glibc {packed.glibc} or later",
            "next": f"add --environment {result.out} to preprocess, train or run",
        }
    )
