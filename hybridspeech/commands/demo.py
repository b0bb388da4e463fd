"""The verb `demo`: all other verbs in a row, on a set of words spoken by synthetic voices. Needs no data and no cluster.

OUT/audio   OUT/shards   OUT/run   OUT/savedmodel      what each verb made
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from hybridspeech.commands.evaluate import EvaluateResult, evaluate
from hybridspeech.commands.export import export
from hybridspeech.commands.predict import Prediction, predict
from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.commands.synthesize import synthesize
from hybridspeech.commands.train import TrainResult, train
from hybridspeech.config import AugmentConfig, ClusterConfig, EngineConfig, FeatureConfig, OnProgress, Progress, silent
from hybridspeech.errors import ConfigError
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


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo made: where it is, how well it does on voices it has not heard, and what it heard in some clips."""

    out: str
    backend: str
    seconds: float
    preprocessed: PreprocessResult
    trained: TrainResult
    metrics: EvaluateResult
    heard: tuple[Prediction, ...]

    def story(self) -> str:
        """What was made and where, and how to go on, in a few lines for people."""
        low, high = self.metrics.accuracy_ci95
        heard = [f"  {item.path}: {item.label} ({item.probability:.2f})" for item in self.heard]
        return "\n".join(
            [
                f"{self.preprocessed.num_clips:,} spoken words -> {self.preprocessed.num_shards} shards on "
                f"{self.preprocessed.engine} -> {self.trained.num_workers} workers on {self.backend} -> a classifier, in "
                f"{self.seconds:.0f} s",
                f"accuracy on {self.metrics.num_clips} words of voices that it had not heard: {self.metrics.accuracy:.3f} "
                f"(95 % interval {low:.3f} to {high:.3f}; guessing: {1 / len(self.metrics.classes):.3f})",
                *heard,
                f"audio       {self.out}/audio         one folder per word: your own data looks like this",
                f"shards      {self.out}/shards        hybridspeech inspect {self.out}/shards",
                f"run         {self.out}/run           metrics.jsonl, tensorboard/, evaluation-testing/confusion.png",
                f"SavedModel  {self.out}/savedmodel    raw audio in, probabilities out",
                "next        real voices: hybridspeech data download speech-commands-v0.02 words",
                "            hybridspeech preprocess words shards --features waveform --task 12; hybridspeech train shards run",
            ]
        )


def demo(
    out: str | Path = "demo",
    *,
    backend: str = "tfos",
    seed: int = 0,
    overwrite: bool = False,
    verbose: bool = False,
    on_progress: OnProgress = silent,
) -> DemoResult:
    """Synthesise words, preprocess them, train on two workers, evaluate, export, predict.

    Parameters
    ----------
    backend : "tfos" (preprocessing on Spark, training through TensorFlowOnSpark), "ray" (RayDP and Ray Train) or "local"

    Raises
    ------
    ConfigError: the backend is unknown. MissingExtraError. Whatever the verbs raise.
    """
    if backend not in ENGINE_OF:
        raise ConfigError(f"backend {backend!r} is unknown; choose one of {', '.join(ENGINE_OF)}")
    refuse_urls(OUT=out)
    out, started = Path(out), time.monotonic()
    audio, shards, run = out / "audio", out / "shards", out / "run"
    with claim_output(out, marks=("audio", "shards", "run"), overwrite=overwrite, resume=False):
        _announce(on_progress, "1/5  speak the words")
        synthesize(audio, clips_per_word=CLIPS_PER_WORD, seed=seed, on_progress=on_progress)
        _announce(on_progress, f"2/5  preprocess on {ENGINE_OF[backend]}")
        engine_config = EngineConfig(verbose=verbose)
        preprocessed = preprocess(
            audio,
            shards,
            features=FEATURES,
            engine=ENGINE_OF[backend],
            engine_config=engine_config,
            on_progress=on_progress,
        )
        workers = 1 if backend == "local" else 2
        _announce(on_progress, f"3/5  train through {backend} on {workers} workers")
        trained = train(
            shards,
            run,
            fit=FitConfig(epochs=EPOCHS, batch_size=BATCH_SIZE, augment=AugmentConfig(mixup_alpha=0.0), seed=seed),
            cluster=ClusterConfig(num_workers=workers, verbose=verbose),
            backend=backend,
            on_progress=on_progress,
        )
        _announce(on_progress, "4/5  evaluate on voices that were not heard, and export")
        metrics = evaluate(run, shards, split="testing")
        export(run, out / "savedmodel")
        _announce(on_progress, "5/5  predict")
        heard = _listen(run, audio)
    return DemoResult(
        out=str(out),
        backend=backend,
        seconds=time.monotonic() - started,
        preprocessed=preprocessed,
        trained=trained,
        metrics=metrics,
        heard=heard,
    )


def _announce(on_progress: OnProgress, message: str) -> None:
    on_progress(Progress(stage=message, message=message))


def _listen(run: Path, audio: Path) -> tuple[Prediction, ...]:
    """Predictions for a few clips of unheard voices, of different words."""
    clips = {clip.label_name: clip for clip in read_manifest(audio, ManifestConfig()).of_split("testing")}
    chosen = [clips[label].path for label in sorted(clips)][:: max(1, len(clips) // NUM_PREDICTED)][:NUM_PREDICTED]
    return tuple(predict(run, chosen))
