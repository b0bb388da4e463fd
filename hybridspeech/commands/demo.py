"""The verb `demo`: all other verbs in sequence, on synthetic speech. Needs no data and no cluster.

OUT/audio   OUT/shards   OUT/run   OUT/savedmodel      outputs of the verbs
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from hybridspeech.commands.evaluate import EvaluateResult, evaluate
from hybridspeech.commands.export import export
from hybridspeech.commands.predict import predict
from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.commands.synthesize import synthesize
from hybridspeech.commands.train import TrainResult, train
from hybridspeech.config import AugmentConfig, ClusterConfig, EngineConfig, FeatureConfig, OnProgress, Progress, silent
from hybridspeech.errors import ConfigError, counted
from hybridspeech.evaluation.file_predictions import Prediction
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.manifest.reader import read_manifest
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output
from hybridspeech.training.config import FitConfig

ENGINE_OF = {"tfos": "spark", "ray": "raydp", "local": "local"}
FEATURES = FeatureConfig(kind="waveform")
CLIPS_PER_WORD = 40
EPOCHS = 20
BATCH_SIZE = 32
NUM_PREDICTED = 6
NUM_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Result of `demo`.

    Parameters
    ----------
    metrics : evaluation on speakers that are not in the training data
    heard : predictions for some of their clips
    """

    out: str
    backend: str
    seconds: float
    preprocessed: PreprocessResult
    trained: TrainResult
    metrics: EvaluateResult
    heard: tuple[Prediction, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the predictions."""
        rows = [[item.path, str(item.label), f"{item.probability or 0:.2f}"] for item in self.heard]
        return ["file", "label", "probability"], rows

    def facts(self) -> dict[str, str]:
        """Return name and description of the results, of the outputs, and of the next step."""
        low, high = self.metrics.accuracy_ci95
        made, trained = self.preprocessed, self.trained
        return {
            "accuracy": f"{self.metrics.accuracy:.3f} on {counted(self.metrics.num_clips, 'clip')} of new speakers "
            f"(95 % interval {low:.3f} to {high:.3f}, chance {1 / len(self.metrics.classes):.3f})",
            "steps": f"{counted(made.num_clips, 'clip')}, {counted(made.num_shards, 'shard')} ({made.engine}), "
            f"{counted(trained.num_workers, 'worker')} ({self.backend}), {self.seconds:.0f} s",
            "audio": f"{self.out}/audio: one folder per word, the layout for your own recordings",
            "shards": f"{self.out}/shards: hybridspeech inspect {quote(self.out)}/shards",
            "run": f"{self.out}/run: metrics.jsonl, tensorboard/, evaluation-testing/confusion.png",
            "export": f"{self.out}/savedmodel: takes raw audio, returns probabilities",
            "next": "hybridspeech data download speech-commands-v0.02 words",
        }


def demo(
    out: str | Path = "demo",
    *,
    backend: str = "tfos",
    seed: int = 0,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress = silent,
) -> DemoResult:
    """Synthesize speech, preprocess it, train on two workers, evaluate, export and predict.

    Parameters
    ----------
    backend : "tfos" (preprocessing on Spark, training through TensorFlowOnSpark), "ray" (RayDP and Ray Train) or "local"

    Raises
    ------
    ConfigError: the backend is unknown. MissingExtraError: an extra is not installed. The errors of the verbs.
    """
    if backend not in ENGINE_OF:
        raise ConfigError(f"backend {backend!r} is unknown; choose one of {', '.join(ENGINE_OF)}")
    refuse_urls(OUT=out)
    out, started = Path(out), time.monotonic()
    audio, shards, run = out / "audio", out / "shards", out / "run"
    with claim_output(out, marks=("audio", "shards", "run"), overwrite=overwrite, resume=False):
        _announce(on_progress, 1, "synthesize speech")
        synthesize(audio, clips_per_word=CLIPS_PER_WORD, seed=seed, on_progress=on_progress)
        _announce(on_progress, 2, f"preprocess on {ENGINE_OF[backend]}")
        preprocessed = preprocess(
            audio,
            shards,
            features=FEATURES,
            engine=ENGINE_OF[backend],
            engine_config=EngineConfig(verbose=verbose),
            on_progress=on_progress,
        )
        cluster = ClusterConfig(num_workers=1 if backend == "local" else 2, verbose=verbose)
        fit = FitConfig(epochs=EPOCHS, batch_size=BATCH_SIZE, augment=AugmentConfig(mixup_alpha=0.0), seed=seed)
        _announce(on_progress, 3, f"train on {counted(cluster.num_workers, 'worker')} ({backend})")
        trained = train(shards, run, fit=fit, cluster=cluster, backend=backend, on_progress=on_progress)
        metrics, heard = _use(run, shards, audio, on_progress)
    return DemoResult(
        out=str(out),
        backend=backend,
        seconds=time.monotonic() - started,
        preprocessed=preprocessed,
        trained=trained,
        metrics=metrics,
        heard=heard,
    )


def _use(
    run: Path, shards: Path, audio: Path, on_progress: OnProgress
) -> tuple[EvaluateResult, tuple[Prediction, ...]]:
    """Evaluate and export the run, and predict some clips with it."""
    _announce(on_progress, 4, "evaluate on speakers that are not in the training data")
    metrics = evaluate(run, shards, split="testing", on_progress=on_progress)
    _announce(on_progress, 5, "export a SavedModel")
    export(run, run.with_name("savedmodel"), on_progress=on_progress)
    _announce(on_progress, 6, "predict")
    return metrics, _predict_some(run, audio)


def _announce(on_progress: OnProgress, step: int, what: str) -> None:
    message = f"step {step}/{NUM_STEPS}: {what}"
    on_progress(Progress(stage=message, message=message))


def _predict_some(run: Path, audio: Path) -> tuple[Prediction, ...]:
    """Return predictions for some clips of the testing split, of different words."""
    clips = {clip.label_name: clip for clip in read_manifest(audio, ManifestConfig()).of_split("testing")}
    chosen = [clips[label].path for label in sorted(clips)][:: max(1, len(clips) // NUM_PREDICTED)][:NUM_PREDICTED]
    return tuple(predict(run, chosen))
