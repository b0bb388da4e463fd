"""accuracy: test accuracy of each network with its own recipe. curve-by-workers: one network on one worker and on two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.records import Outcome
from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.export import export
from hybridspeech.commands.train import train
from hybridspeech.config import ClusterConfig, FeatureConfig
from hybridspeech.errors import RunError
from hybridspeech.models.config import ModelConfig
from hybridspeech.shards.index import ShardIndex
from hybridspeech.training.config import FitConfig
from hybridspeech.training.run_directory import RunDirectory
from hybridspeech.training.trained_model import load_model

EXPORTS = {"savedmodel": "savedmodel", "tflite": "model.tflite", "tflite-int8": "int8.tflite"}
CAUSAL_EXPORTS = {
    "savedmodel-streaming": "stream",
    "tflite-streaming": "stream.tflite",
    "tflite-micro": "micro",
}
"""Further exports of a causal network."""


def measure(
    source: Path,
    scratch: Path,
    *,
    network: Mapping[str, Any],
    shards: str,
    seed: int,
    epochs: int | None = None,
) -> Outcome:
    """Return the accuracy on the testing split, 0 to 1, after training on one worker with all cores.

    Parameters
    ----------
    source : waveform shards, for the evaluation
    network : `features`, `model`, `width`, `recipe` and `causal` of the network
    shards : shards that are trained on
    epochs : number of epochs; None: that of the recipe
    """
    model: dict[str, Any] = {name: network[key] for name, key in (("name", "model"), ("width", "width"))}
    is_causal = network.get("causal", False)
    forms = EXPORTS | (CAUSAL_EXPORTS if is_causal else {})
    settings: dict[str, Any] = {"epochs": epochs, "seed": seed}
    started = time.monotonic()
    run = scratch / "run"
    result = train(
        shards,
        run,
        features=FeatureConfig(kind=network["features"]),
        model=ModelConfig(**model, causal=is_causal or None),
        fit=FitConfig(**settings),
        recipe=network["recipe"],
        backend="local",
    )
    seconds = time.monotonic() - started
    has_noise = any("testing" in noise.splits for noise in ShardIndex.load(source).noises)
    tested = evaluate(run, source, split="testing", robustness=has_noise)
    facts = {
        "interval": tested.accuracy_ci95,
        "interval_method": tested.ci_method,
        "num_clips": tested.num_clips,
        "num_speakers": tested.num_speakers,
        "labels": [record.label for record in tested.classes],
        "validation_accuracy": result.history[-1].get("val_accuracy"),
        "training_accuracy": result.history[-1]["accuracy"],
        "num_parameters": load_model(RunDirectory(run), RunDirectory(run).require_finished()).count_params(),
        "epochs": len(result.history),
        "train_s": seconds,
        "examples_per_s": result.examples_per_s,
        "calibration_error": tested.uncalibrated.ece,
        "scaled_calibration_error": tested.ece,
        "temperature": tested.temperature,
        "noise": {f"{each.level:g}": each.accuracy for each in tested.robustness if each.disturbance == "noise"},
        "exports": {format: _exported(run, source, format, scratch / name) for format, name in forms.items()},
    }
    return Outcome(value=tested.accuracy, startup_s=result.startup_s, facts=facts)


def _exported(run: Path, source: Path, format: str, out: Path) -> dict[str, Any]:
    """Return accuracy, size and latency of the exported model, or the reason why the export is refused."""
    calibrate = source if format in ("tflite-int8", "tflite-micro") else None
    try:
        made = export(run, out, format=format, calibrate=calibrate, measure=source)
    except RunError as error:
        return {"refused": str(error).removeprefix(f"{run}: ").partition(";")[0]}
    assert made.measured is not None
    return {
        "accuracy": made.measured.accuracy,
        "num_bytes": made.num_bytes,
        "latency_ms": made.measured.latency_ms,
        "agreement": made.agreement,
        "input_shape": made.input_shape,
        "arena_bytes": made.arena_bytes,
    }


def by_workers(source: Path, scratch: Path, *, backend: str, num_workers: int, seed: int, epochs: int) -> Outcome:
    """Return the validation accuracy of `dscnn`, 0 to 1, at global batch size 64: mean over the last quarter of the epochs."""
    fit = FitConfig(epochs=epochs, seed=seed, batch_size=64 // num_workers)
    cluster = ClusterConfig(num_workers=num_workers)
    run = scratch / "run"
    result = train(source, run, fit=fit, cluster=cluster, backend=backend)
    last = result.history[-max(1, epochs // 4) :]
    facts = {
        "val_loss": statistics.mean(row["val_loss"] for row in last),
        "loss": result.history[-1]["loss"],
        "examples_per_s": result.examples_per_s,
    }
    return Outcome(value=statistics.mean(row["val_accuracy"] for row in last), startup_s=result.startup_s, facts=facts)
