"""The commands that prepare a cluster: `pack` and `doctor`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import CLUSTER, INPUT, OUTPUT, argument, option, with_settings
from hybridspeech.cli.parameters import Json, Overwrite
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json, print_table, print_text
from hybridspeech.config import EngineConfig


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


@app.command("doctor", cls=Command, short_help="Check this machine and the nodes of a cluster.")
@with_settings(
    SETTINGS, omit=("num_executors", "executor_cores", "executor_memory", "cluster.master", "cluster.ray_address")
)
def doctor_command(
    *,
    master: Annotated[str | None, option("Spark master of the nodes to check.", CLUSTER, default="none")] = None,
    ray_address: Annotated[str | None, option("Address of the Ray to check.", CLUSTER, default="none")] = None,
    storage: Annotated[
        str | None, option("Location that all nodes must be able to read and write.", INPUT, default="none")
    ] = None,
    cluster: EngineConfig,
    json: Json = False,
) -> None:
    """Check Python, packages, Java, memory, clocks, ports and storage, here and on every node; exit code 1 if a check fails.

    Without --master and --ray-address, only this machine is checked.
    """
    from hybridspeech.commands.doctor import doctor

    with ProgressReporter() as report:
        cluster = dataclasses.replace(cluster, master=master, ray_address=ray_address)
        result = doctor(storage=storage, cluster=cluster, on_progress=report)
    if json:
        print_json({"is_ok": result.is_ok, **dataclasses.asdict(result)})
    else:
        print_table(*result.table())
        failed = sum(check.status == "failed" for check in result.checks)
        print_text(f"{failed} check(s) failed" if failed else "all checks passed")
    if not result.is_ok:
        raise typer.Exit(1)
