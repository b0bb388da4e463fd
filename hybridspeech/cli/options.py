"""Options that several commands have, each said once."""

from __future__ import annotations

from pathlib import Path
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

Source = Annotated[Path, typer.Argument(help="A folder with one folder per word, or a CSV, JSONL or Parquet table.")]
Split = Annotated[
    str, typer.Option(help="auto, lists (testing_list.txt, validation_list.txt), hash, column (of a table), none.")
]
Task = Annotated[str, typer.Option(help="all words; 12 (the usual ten, _unknown_, _silence_); or words:a,b,c.")]
NFft = Annotated[int | None, typer.Option(help="Samples of a window.  [default: stft 2048, logmel 512]")]
HopLength = Annotated[int | None, typer.Option(help="Samples from window to window.  [default: stft 321, logmel 160]")]
NMels = Annotated[int, typer.Option(help="logmel: bands.")]
MaxRejects = Annotated[
    float | None, typer.Option(help="Stop past so many unusable clips: a count, or a fraction below 1.")
]

NumWorkers = Annotated[int, typer.Option(help="Training workers.")]
Model = Annotated[
    str | None, typer.Option(help="cnn, dscnn, bcresnet, or module:function.  [default: stft cnn, logmel dscnn]")
]
TrainingSeed = Annotated[int, typer.Option(help="Decides weights, order, dropout and variation.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="Same seed, same curve (slower operations).")]
CheckpointSteps = Annotated[
    int | None, typer.Option(help="Steps from checkpoint to checkpoint; 0: one an epoch.  [default: 0]")
]
ThreadsPerWorker = Annotated[int | None, typer.Option(help="TensorFlow threads.  [default: cores / workers]")]
TfosMaster = Annotated[str | None, typer.Option(help="tfos: Spark master.  [default: a local-cluster]")]
TfosMemory = Annotated[str, typer.Option(help="tfos: memory of an executor's JVM.")]
MaxRestarts = Annotated[int, typer.Option(help="Times to go on by itself after a failure.")]
StartTimeout = Annotated[float, typer.Option(help="Seconds until every worker must run.")]

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
