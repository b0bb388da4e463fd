"""The verb `demo`: all other verbs in sequence, on synthetic speech. Needs no data and no cluster.

OUT/audio   OUT/shards   OUT/run   OUT/savedmodel      outputs of the verbs
OUT/minute.wav   OUT/minute.png                       continuous speech, and the words that were found in it
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np

from hybridspeech.audio.containers import canonical_header
from hybridspeech.audio.decode import read_clip
from hybridspeech.audio.pcm import to_pcm16
from hybridspeech.commands.evaluate import EvaluateResult, evaluate
from hybridspeech.commands.export import export
from hybridspeech.commands.listen import listen
from hybridspeech.commands.predict import predict
from hybridspeech.commands.preprocess import PreprocessResult, preprocess
from hybridspeech.commands.synthesize import synthesize
from hybridspeech.commands.train import TrainResult, train
from hybridspeech.config import AugmentConfig, ClusterConfig, EngineConfig, FeatureConfig, OnProgress, Progress, silent
from hybridspeech.detection.config import Thresholds
from hybridspeech.detection.listener import Event
from hybridspeech.detection.matching import matches
from hybridspeech.detection.stream_sound import SpokenWord, StreamClips, StreamSettings, shuffled, stream_pieces
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
NUM_STEPS = 7
MINUTE_S = 60.0
MINUTE_THRESHOLD = 0.8


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Result of `demo`.

    Parameters
    ----------
    metrics : evaluation on speakers that are not in the training data
    heard : predictions for some of their clips
    spoken, found : words of a minute of continuous speech of these speakers, and the events that `listen` found in it
    """

    out: str
    backend: str
    seconds: float
    preprocessed: PreprocessResult
    trained: TrainResult
    metrics: EvaluateResult
    heard: tuple[Prediction, ...]
    spoken: tuple[SpokenWord, ...]
    found: tuple[Event, ...]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the predictions."""
        rows = [[item.path, str(item.label), f"{item.probability or 0:.2f}"] for item in self.heard]
        return ["file", "label", "probability"], rows

    def timeline(self) -> tuple[list[str], list[list[str]]]:
        """Return header and rows of the minute: each word and the event at its time, and events without a word."""
        left, rows = list(self.found), []
        for word in self.spoken:
            event = next((item for item in left if matches(item, word)), None)
            if event is not None:
                left.remove(event)
            rows.append([f"{word.start_s:.1f}", word.label, *_label_and_score(event)])
        rows += [[f"{event.start_s:.1f}", "", *_label_and_score(event)] for event in left]
        return ["second", "spoken", "found", "score"], sorted(rows, key=lambda row: float(row[0]))

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
            "minute": f"{self.out}/minute.wav: hybridspeech listen {quote(self.out)}/run {quote(self.out)}/minute.wav",
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
    """Synthesize speech, preprocess it, train on two workers, evaluate, export, predict and listen.

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
        _announce(on_progress, 7, "listen to a minute of continuous speech")
        spoken = _write_minute(audio, out / "minute.wav", seed)
        found = _listen(run, out / "minute.wav", out / "minute.png")
    return DemoResult(
        out=str(out),
        backend=backend,
        seconds=time.monotonic() - started,
        preprocessed=preprocessed,
        trained=trained,
        metrics=metrics,
        heard=heard,
        spoken=spoken,
        found=found,
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


def _write_minute(audio: Path, path: Path, seed: int) -> tuple[SpokenWord, ...]:
    """Write continuous speech made of clips of the testing split; return its words."""
    clips = read_manifest(audio, ManifestConfig()).of_split("testing")
    chosen = StreamClips(
        waves=np.stack([read_clip(clip.path, FEATURES) for clip in clips]),
        labels=tuple(clip.label_name for clip in clips),
        speakers=tuple(clip.speaker for clip in clips),
        sample_rate_hz=FEATURES.sample_rate_hz,
    )
    settings = StreamSettings(seed=seed, overlap_percentage=0.0, shortest_gap_s=0.5)
    pieces = stream_pieces(chosen, shuffled(range(len(clips)), 40, seed), (), settings)
    parts, words = zip(*pieces, strict=True)
    complete = tuple(word for piece in words for word in piece if word.end_s <= MINUTE_S)
    wave = np.zeros(int(MINUTE_S * FEATURES.sample_rate_hz), np.float32)
    end = round(complete[-1].end_s * FEATURES.sample_rate_hz)
    wave[:end] = np.concatenate(parts)[:end]
    path.write_bytes(canonical_header(wave.size, FEATURES.sample_rate_hz) + to_pcm16(wave).tobytes())
    return complete


def _listen(run: Path, path: Path, plot: Path) -> tuple[Event, ...]:
    return tuple(listen(run, path, thresholds=Thresholds(default=MINUTE_THRESHOLD), plot=plot))


def _label_and_score(event: Event | None) -> tuple[str, str]:
    return ("", "") if event is None else (str(event.label), f"{event.score or 0:.2f}")
