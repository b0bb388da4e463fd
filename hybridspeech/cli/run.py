"""The command `run`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import Conf, Json, Overwrite, RayAddress, Resume, Verbose, pairs_of
from hybridspeech.cli.train import training_facts
from hybridspeech.config import ClusterConfig, FeatureConfig, ManifestConfig, ShardConfig
from hybridspeech.terminal import ProgressReporter, print_fields, print_json


@app.command(short_help="Recorded words to a trained classifier, without shards on disk.")
def run(
    source: Annotated[
        Path, typer.Argument(help="A folder with one folder per word, or a CSV, JSONL or Parquet table.")
    ],
    run: Annotated[Path, typer.Argument(help="Run directory to make, on storage that every worker reaches.")],
    backend: Annotated[
        str, typer.Option(help="tfos (Spark feeds TensorFlowOnSpark) or ray (Spark on Ray feeds Ray Train).")
    ] = "tfos",
    memory_per_worker: Annotated[
        str, typer.Option(help="Records that each worker keeps in memory; the rest goes to a scratch file.")
    ] = "1g",
    features: Annotated[str, typer.Option(help="stft (spectrogram in dB) or logmel.")] = "stft",
    n_fft: Annotated[int | None, typer.Option(help="Samples of a window.  [default: stft 2048, logmel 512]")] = None,
    hop_length: Annotated[
        int | None, typer.Option(help="Samples from window to window.  [default: stft 321, logmel 160]")
    ] = None,
    n_mels: Annotated[int | None, typer.Option(help="logmel: bands.  [default: 64]")] = None,
    split: Annotated[
        str, typer.Option(help="auto, lists (testing_list.txt, validation_list.txt), hash, column (of a table), none.")
    ] = "auto",
    task: Annotated[
        str, typer.Option(help="all words; 12 (the usual ten, _unknown_, _silence_); or words:a,b,c.")
    ] = "all",
    dtype: Annotated[str, typer.Option(help="float32 or float16.")] = "float32",
    shards: Annotated[
        int | None, typer.Option(help="Parts of each split that workers share.  [default: as many as preprocess makes]")
    ] = None,
    max_rejects: Annotated[
        float | None, typer.Option(help="Stop past so many unusable clips: a count, or a fraction below 1.")
    ] = None,
    num_workers: Annotated[int, typer.Option(help="Training workers.")] = 1,
    model: Annotated[
        str | None, typer.Option(help="cnn, dscnn, bcresnet, or module:function.  [default: stft cnn, logmel dscnn]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Times that every training clip is seen.  [default: as train]")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step of each worker.  [default: as train]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest one.  [default: as train]")] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of cells left out in training.  [default: 0.2]")] = None,
    seed: Annotated[int, typer.Option(help="Decides weights, order, dropout and variation.")] = 0,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same seed, same curve (slower operations).")
    ] = False,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="Steps from checkpoint to checkpoint.  [default: one an epoch]")
    ] = None,
    threads_per_worker: Annotated[
        int | None, typer.Option(help="TensorFlow threads.  [default: cores / workers]")
    ] = None,
    master: Annotated[str | None, typer.Option(help="tfos: Spark master.  [default: a local-cluster]")] = None,
    conf: Conf = None,
    executor_memory: Annotated[str, typer.Option(help="tfos: memory of an executor's JVM.")] = "1g",
    ray_address: RayAddress = None,
    max_restarts: Annotated[int, typer.Option(help="Times to go on by itself after a failure.")] = 0,
    start_timeout: Annotated[float, typer.Option(help="Seconds until every worker must run.")] = 300.0,
    stall_timeout: Annotated[
        float, typer.Option(help="Seconds that features or a worker may be without progress.")
    ] = 300.0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Preprocess on Spark and train on what it makes, in one program; the curve is that of preprocess and train."""
    from hybridspeech.run import run as run_
    from hybridspeech.run import usual_training

    made = FeatureConfig.of(features, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
    recipe = usual_training(
        made,
        model=model,
        dropout=dropout,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        deterministic=deterministic,
        checkpoint_steps=checkpoint_steps,
    )
    with ProgressReporter() as report:
        result = run_(
            source,
            run,
            features=made,
            manifest=ManifestConfig(split=split, task=task),  # type: ignore[arg-type]
            shards=ShardConfig(dtype=dtype, num_shards=shards),  # type: ignore[arg-type]
            model=recipe.model,
            fit=recipe.fit,
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
            memory_per_worker=memory_per_worker,
            max_rejects=math.inf if max_rejects is None else max_rejects,
            overwrite=overwrite,
            resume=resume,
            on_progress=report,
        )
    if json:
        return print_json(result)
    return print_fields(
        {
            "run": result.run_dir,
            "clips": f"{result.num_clips:,} for training and validation, {result.num_rejects:,} rejected",
            "records": f"{result.memory_bytes / 1e6:,.0f} MB in memory, {result.spilled_bytes / 1e6:,.0f} MB in scratch files",
            **training_facts(result),
        }
    )
