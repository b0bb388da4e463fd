"""accuracy: what each network learns of a set of words by its own recipe, measured on speakers it has not heard.

curve-by-workers: whether one network learns the same on more workers, at the same global batch.
"""

from __future__ import annotations

import statistics
import time
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


def measure(
    source: Path,
    scratch: Path,
    *,
    features: str,
    model: str,
    seed: int,
    width: float | None = None,
    epochs: int | None = None,
) -> Outcome:
    """Accuracy on the testing split, 0 to 1, after training on one worker with all cores; `source` are waveform shards."""
    network: dict[str, Any] = {"name": model, "width": width}
    settings: dict[str, Any] = {"epochs": epochs, "seed": seed}
    started = time.monotonic()
    run = scratch / "run"
    result = train(
        source,
        run,
        features=FeatureConfig(kind=features),  # type: ignore[arg-type]
        model=ModelConfig(**network),
        fit=FitConfig(**settings),
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
        "num_parameters": load_model(RunDirectory(run)).count_params(),
        "epochs": len(result.history),
        "train_s": seconds,
        "examples_per_s": result.examples_per_s,
        "calibration_error": tested.ece,
        "noise": {f"{each.level:g}": each.accuracy for each in tested.robustness if each.disturbance == "noise"},
        "exports": {format: _exported(run, source, format, scratch / name) for format, name in EXPORTS.items()},
    }
    return Outcome(value=tested.accuracy, startup_s=result.startup_s, facts=facts)


def _exported(run: Path, source: Path, format: str, out: Path) -> dict[str, Any]:
    """What the exported model itself does on the testing split; or why there is none."""
    calibrate = source if format == "tflite-int8" else None
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
    }


def by_workers(source: Path, scratch: Path, *, backend: str, num_workers: int, seed: int, epochs: int) -> Outcome:
    """Validation accuracy, 0 to 1, after training `dscnn` with 64 clips a step in all; mean of the last quarter's epochs."""
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
