"""Options that several commands have, each said once."""

from __future__ import annotations

from typing import Annotated

import typer

from hybridspeech.errors import ConfigError

Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Let the logs of Spark, Ray and TensorFlow through.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an output that is unfinished.")]
Conf = Annotated[
    list[str] | None, typer.Option("--conf", metavar="K=V", help="A Spark setting; may be given several times.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", help="A Ray cluster to join.  [default: start one on this machine]")
]


BackgroundVolume = Annotated[
    float | None, typer.Option(help="Loudest background noise, of full scale.  [default: 0.1, if there is noise]")
]
BackgroundFrequency = Annotated[
    float | None, typer.Option(help="Share of clips with background noise.  [default: 0.8]")
]
TimeShift = Annotated[float | None, typer.Option("--time-shift-ms", help="Largest shift, both ways.  [default: 100]")]
Gain = Annotated[float | None, typer.Option("--gain-db", help="Largest change of loudness, both ways.  [default: 6]")]
Speed = Annotated[float | None, typer.Option("--speed-percent", help="Largest change of speed.  [default: 10]")]


def pairs_of(conf: list[str] | None) -> dict[str, str]:
    """NAME=VALUE, given several times, as a mapping.

    Raises
    ------
    ConfigError: one has no '='.
    """
    pairs = {}
    for item in conf or []:
        name, separator, value = item.partition("=")
        if not separator or not name:
            raise ConfigError(f"--conf {item!r}: expected NAME=VALUE, e.g. --conf spark.local.dir=/data/tmp")
        pairs[name] = value
    return pairs
