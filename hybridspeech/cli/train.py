"""The command `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hybridspeech.cli.app import app
from hybridspeech.cli.options import Conf, Json, Overwrite, RayAddress, Resume, Verbose, pairs_of
from hybridspeech.config import ClusterConfig, FitConfig, ModelConfig
from hybridspeech.terminal import ProgressReporter, print_fields, print_json


@app.command(short_help="Shards to a trained classifier.")
def train(
    shards: Annotated[Path, typer.Argument(help="Folder that preprocess has written; every worker must reach it.")],
    run: Annotated[Path, typer.Argument(help="Run directory to make, on storage that every worker reaches.")],
    backend: Annotated[
        str, typer.Option(help="tfos (TensorFlowOnSpark), ray (Ray Train), local (this process).")
    ] = "tfos",
    num_workers: Annotated[int, typer.Option(help="Training workers.")] = 1,
    epochs: Annotated[int, typer.Option(help="Times that every training clip is seen.")] = 8,
    batch_size: Annotated[int, typer.Option(help="Clips a step of each worker.")] = 16,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    model: Annotated[str, typer.Option(help="Network: cnn.")] = "cnn",
    dropout: Annotated[float, typer.Option(help="Share of cells left out in training.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides weights, order and dropout.")] = 0,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Same seed, same curve (slower operations).")
    ] = False,
    shuffle_buffer: Annotated[int, typer.Option(help="Examples that a worker shuffles at a time.")] = 1024,
    keep_checkpoints: Annotated[int, typer.Option(help="Last checkpoints kept; the best epoch's is kept too.")] = 2,
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
    stall_timeout: Annotated[float, typer.Option(help="Seconds that a worker may be without progress.")] = 300.0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    verbose: Verbose = False,
    json: Json = False,
) -> None:
    """Train a classifier on shards with one or more workers."""
    from hybridspeech.train import train

    with ProgressReporter() as report:
        result = train(
            shards,
            run,
            model=ModelConfig(name=model, dropout=dropout),
            fit=FitConfig(
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                seed=seed,
                deterministic=deterministic,
                shuffle_buffer=shuffle_buffer,
                keep_checkpoints=keep_checkpoints,
                checkpoint_steps=checkpoint_steps,
            ),
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
    last = result.history[-1]
    return print_fields(
        {
            "run": result.run_dir,
            "workers": f"{result.num_workers} on {result.backend}, {result.global_batch_size} clips a step",
            "time": f"{result.startup_s:.1f} s to the first step, {result.train_s:.1f} s of training",
            "speed": f"{result.examples_per_s:,.0f} examples/s",
            "last epoch": ", ".join(
                f"{name} {last[name]:.4f}" for name in last if "loss" in name or "accuracy" in name
            ),
        }
    )
