"""The commands that train: `train` on shards, and `run` on recordings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Literal, Optional

from hybridspeech.cli.app import Command, app
from hybridspeech.cli.options import AUGMENTATION, CLUSTER, FEATURES, INPUT, MODEL, option, with_settings
from hybridspeech.cli.parameters import Json, MaxRejects, NewRun, Overwrite, Resume, Shards, Source
from hybridspeech.cli.progress import ProgressReporter
from hybridspeech.cli.settings import SETTINGS
from hybridspeech.cli.terminal import print_fields, print_json
from hybridspeech.config import ON_SPECTROGRAMS, AugmentConfig, ClusterConfig, FeatureConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.config import ShardConfig
from hybridspeech.training.config import FitConfig
from hybridspeech.training.recipes import FINE_TUNING_BATCH, FINE_TUNING_EPOCHS

if TYPE_CHECKING:
    from hybridspeech.commands.train import TrainResult

Recipe = Annotated[
    Literal["default", "report"],
    option("Settings of those options that are not given: the network's default, or those of the 2020 report.", MODEL),
]
InitFrom = Annotated[
    Optional[Path],  # noqa: UP045 - Typer evaluates it
    option(
        "Fine-tune: start from the weights of this finished run (path or URL), which has the same network and features. "
        "The output layer is new if the labels differ. The recipe then has a third of the learning rate, at most "
        f"{FINE_TUNING_EPOCHS} epochs, and a batch size of at most {FINE_TUNING_BATCH}.",
        MODEL,
        metavar="RUN",
        default="random weights",
    ),
]
ON_SOUND = tuple(field.name for field in dataclasses.fields(AugmentConfig) if field.name not in ON_SPECTROGRAMS)


@app.command("train", cls=Command, short_help="Train a network on shards.")
@with_settings(
    SETTINGS,
    common=(
        *("backend", "num_workers", "features", "model", "epochs", "batch_size", "learning_rate", "seed"),
        *("overwrite", "resume"),
    ),
)
def train_command(
    shards: Shards,
    run: NewRun,
    *,
    model: ModelConfig,
    fit: FitConfig,
    augment: AugmentConfig,
    cluster: ClusterConfig,
    backend: Annotated[
        Literal["tfos", "ray", "local"], option("Backend: TensorFlowOnSpark, Ray Train, or this process.", CLUSTER)
    ] = "tfos",
    features: Annotated[
        Literal["stft", "logmel"] | None,
        option("Features that training computes from waveform shards.", FEATURES, default="logmel"),
    ] = None,
    recipe: Recipe = "default",
    init_from: InitFrom = None,
    rir: Annotated[
        Optional[Path],  # noqa: UP045 - Typer evaluates it
        option(
            "Folder (or URL) of room impulse responses, for reverberation. Needs waveform shards.",
            AUGMENTATION,
            metavar="FOLDER",
            default="no reverberation",
        ),
    ] = None,
    negatives: Annotated[
        Optional[Path],  # noqa: UP045 - Typer evaluates it
        option(
            "Sound without the words of the run, for fewer false accepts: a recording of any length, a folder (or URL) of "
            "recordings, or waveform shards. With --init-from, a run with the same labels, the windows in which it hears a "
            "word. Needs waveform shards with clips of _unknown_.",
            INPUT,
            metavar="SOURCE",
            default="no negatives",
        ),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Train a network on shards, with one or more workers.

    Options that are not given have the value of the network's recipe.
    """
    from hybridspeech.commands.train import train

    with ProgressReporter() as report:
        result = train(
            shards,
            run,
            features=FeatureConfig(kind=features) if features else None,
            model=model,
            fit=dataclasses.replace(fit, augment=augment),
            recipe=recipe,
            init_from=init_from,
            rir=rir,
            negatives=negatives,
            cluster=cluster,
            backend=backend,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    return print_fields(_facts(result, f"hybridspeech evaluate {quote(str(run))} {quote(str(shards))}"))


@app.command("run", cls=Command, short_help="Train a network on recordings, without shards on disk.")
@with_settings(
    SETTINGS,
    common=(
        *("backend", "num_workers", "features", "task", "model", "epochs", "batch_size", "learning_rate"),
        *("overwrite", "resume"),
    ),
    omit=(*ON_SOUND, "negatives_percentage", "compression", "shards.seed"),
    choices={"features": ("stft", "logmel"), "dtype": ("float32", "float16")},
    helps={"features": "Features: STFT in dB, or log-mel spectrogram."},
)
def run_command(
    source: Source,
    run: NewRun,
    *,
    features: FeatureConfig,
    manifest: ManifestConfig,
    shards: ShardConfig,
    model: ModelConfig,
    fit: FitConfig,
    augment: AugmentConfig,
    cluster: ClusterConfig,
    backend: Annotated[
        Literal["tfos", "ray"],
        option("Backend: Spark feeds TensorFlowOnSpark, or Spark on Ray feeds Ray Train.", CLUSTER),
    ] = "tfos",
    memory_per_worker: Annotated[
        str, option("Memory for records per worker; further records are stored in a temporary file.", CLUSTER)
    ] = "1g",
    max_rejects: MaxRejects = None,
    recipe: Recipe = "default",
    init_from: InitFrom = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Preprocess recordings on Spark and train on the result, without shards on disk.

    The loss curve equals that of preprocess and train. Options that are not given have the value of the network's recipe.
    """
    from hybridspeech.commands.run import run as run_

    with ProgressReporter() as report:
        result = run_(
            source,
            run,
            features=features,
            manifest=manifest,
            shards=shards,
            model=model,
            fit=dataclasses.replace(fit, augment=augment),
            recipe=recipe,
            init_from=init_from,
            cluster=cluster,
            backend=backend,
            memory_per_worker=memory_per_worker,
            max_rejects=math.inf if max_rejects is None else max_rejects,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    memory, spilled = result.memory_bytes / 1e6, result.spilled_bytes / 1e6
    return print_fields(
        {
            **_facts(result, f"hybridspeech predict {quote(str(run))} FILES"),
            "clips": f"{result.num_clips:,} for training and validation, {result.num_rejects:,} rejected",
            "records": f"{memory:,.0f} MB in memory, {spilled:,.0f} MB in temporary files",
        }
    )


def _facts(result: TrainResult, next_command: str) -> dict[str, str]:
    """Return what `print_fields` shows of a training."""
    best = min(result.history, key=lambda row: row.get("val_loss", row["loss"]))
    return {
        "best epoch": _metrics(best),
        "last epoch": _metrics(result.history[-1]),
        "run": result.run_dir,
        "workers": f"{result.num_workers} on {result.backend}, global batch size {result.global_batch_size}",
        "time": f"{result.startup_s:.1f} s to the first step, {result.train_s:.1f} s of training",
        "speed": f"{result.examples_per_s:,.0f} examples/s",
        "next": next_command,
    }


def _metrics(row: Mapping[str, float]) -> str:
    names = [name for name in row if "loss" in name or "accuracy" in name]
    return f"{row['epoch']:.0f}: " + ", ".join(f"{name} {row[name]:.{3 if 'acc' in name else 4}f}" for name in names)
