"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import (
    BackgroundFrequency,
    BackgroundVolume,
    CheckpointSteps,
    Conf,
    Deterministic,
    Gain,
    Json,
    MaxRestarts,
    Model,
    NumWorkers,
    Overwrite,
    RayAddress,
    Resume,
    Speed,
    StartTimeout,
    TfosMaster,
    TfosMemory,
    ThreadsPerWorker,
    TimeShift,
    TrainingSeed,
    Verbose,
    pairs_of,
)
from hybridspeech.cli.terminal import ProgressReporter, print_fields, print_json
from hybridspeech.config import AugmentConfig, ClusterConfig, FeatureConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.training.config import FitConfig

if TYPE_CHECKING:
    from hybridspeech.commands.train import TrainResult


def _usual(name: str) -> str:
    """What a setting is for the networks that do not have it like most, and else."""
    from hybridspeech.training.recipes import COMPACT, RECIPES

    def value(fit: FitConfig) -> object:
        return getattr(fit, name) if hasattr(fit, name) else getattr(fit.augment, name)

    own = [f"{model} {value(fit)}" for model, fit in RECIPES.items() if value(fit) != value(COMPACT)]
    return f"[default: {', '.join([*own, f'else {value(COMPACT)}'])}]"


@app.command(short_help="Shards to a trained classifier.")
def train(
    shards: Annotated[Path, typer.Argument(help="Folder that preprocess has written; every worker must reach it.")],
    run: Annotated[Path, typer.Argument(help="Run directory to make, on storage that every worker reaches.")],
    backend: Annotated[
        str, typer.Option(help="tfos (TensorFlowOnSpark), ray (Ray Train), local (this process).")
    ] = "tfos",
    num_workers: NumWorkers = 1,
    features: Annotated[str | None, typer.Option(help="Of waveform shards: stft or logmel.  [default: logmel]")] = None,
    model: Model = None,
    width: Annotated[float | None, typer.Option(help="Multiplies the network's channels.  [default: 1]")] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of cells left out in training.  [default: bcresnet 0.1, else 0.2]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help=f"Times that every training clip is seen.  {_usual('epochs')}")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help=f"Clips a step of each worker.  {_usual('batch_size')}")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help=f"The highest one.  {_usual('learning_rate')}")] = None,
    learning_rate_batch: Annotated[
        int | None,
        typer.Option(
            help="Global batch that it is for: it grows with the root of others.  [default: cnn none, else 64]"
        ),
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help=f"adam or adamw.  {_usual('optimizer')}")] = None,
    weight_decay: Annotated[float | None, typer.Option(help=f"Of adamw.  {_usual('weight_decay')}")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"constant or cosine.  {_usual('schedule')}")] = None,
    warmup_epochs: Annotated[float | None, typer.Option(help=f"Of cosine.  {_usual('warmup_epochs')}")] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help=f"Share of the truth given to all labels.  {_usual('label_smoothing')}")
    ] = None,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Let rare labels count as much as frequent ones.")
    ] = False,
    early_stopping: Annotated[
        int | None,
        typer.Option(help="Epochs without a better validation loss to end after; keeps the best."),
    ] = None,
    background_volume: BackgroundVolume = None,
    background_frequency: BackgroundFrequency = None,
    time_shift_ms: TimeShift = None,
    gain_db: Gain = None,
    speed_percent: Speed = None,
    time_masks: Annotated[
        int | None, typer.Option(help=f"SpecAugment: bands of frames left out.  {_usual('time_masks')}")
    ] = None,
    frequency_masks: Annotated[
        int | None, typer.Option(help=f"SpecAugment: bands of bins left out.  {_usual('frequency_masks')}")
    ] = None,
    mixup_alpha: Annotated[
        float | None, typer.Option(help=f"Mix pairs of clips (Beta).  {_usual('mixup_alpha')}")
    ] = None,
    seed: TrainingSeed = 0,
    deterministic: Deterministic = False,
    shuffle_buffer: Annotated[int, typer.Option(help="Examples that a worker shuffles at a time.")] = 1024,
    keep_checkpoints: Annotated[int, typer.Option(help="Last checkpoints kept; the best epoch's is kept too.")] = 2,
    checkpoint_steps: CheckpointSteps = None,
    threads_per_worker: ThreadsPerWorker = None,
    master: TfosMaster = None,
    conf: Conf = None,
    executor_memory: TfosMemory = ClusterConfig.executor_memory,
    ray_address: RayAddress = None,
    max_restarts: MaxRestarts = 0,
    start_timeout: StartTimeout = 300.0,
    stall_timeout: Annotated[float, typer.Option(help="Seconds that a worker may be without progress.")] = 300.0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Train a classifier on shards with one or more workers."""
    from hybridspeech.commands.train import train

    augment: dict[str, Any] = {
        "background_volume": background_volume,
        "background_frequency": background_frequency,
        "time_shift_ms": time_shift_ms,
        "gain_db": gain_db,
        "speed_percent": speed_percent,
        "time_masks": time_masks,
        "frequency_masks": frequency_masks,
        "mixup_alpha": mixup_alpha,
    }
    network: dict[str, Any] = {"name": model, "dropout": dropout, "width": width}
    fit: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "learning_rate_batch": learning_rate_batch,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "schedule": schedule,
        "warmup_epochs": warmup_epochs,
        "label_smoothing": label_smoothing,
        "class_weights": class_weights,
        "early_stopping": early_stopping,
        "seed": seed,
        "deterministic": deterministic,
        "shuffle_buffer": shuffle_buffer,
        "keep_checkpoints": keep_checkpoints,
        "checkpoint_steps": checkpoint_steps,
    }
    with ProgressReporter() as report:
        result = train(
            shards,
            run,
            features=FeatureConfig(kind=features) if features else None,  # type: ignore[arg-type]
            model=ModelConfig(**network),
            fit=FitConfig(augment=AugmentConfig(**augment), **fit),
            cluster=ClusterConfig(
                num_workers=num_workers,
                master=master,
                conf=pairs_of(conf),
                ray_address=ray_address,
                threads_per_worker=threads_per_worker,
                executor_memory=executor_memory,
                max_restarts=max_restarts,
                start_timeout_s=start_timeout,
                stall_timeout_s=stall_timeout,
                verbose=verbose,
            ),
            backend=backend,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    return print_fields({"run": result.run_dir, **training_facts(result)})


def training_facts(result: TrainResult) -> dict[str, str]:
    """How a training went, for `print_fields`."""
    last = result.history[-1]
    return {
        "workers": f"{result.num_workers} on {result.backend}, {result.global_batch_size} clips a step",
        "time": f"{result.startup_s:.1f} s to the first step, {result.train_s:.1f} s of training",
        "speed": f"{result.examples_per_s:,.0f} examples/s",
        "last epoch": ", ".join(f"{name} {last[name]:.4f}" for name in last if "loss" in name or "accuracy" in name),
    }
