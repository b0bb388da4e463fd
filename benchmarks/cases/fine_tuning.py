"""finetune: what a few recordings of each word add to a model of synthetic voices, and to none."""

from __future__ import annotations

import hashlib
import shutil
import time
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.records import Outcome
from hybridspeech.audio.background_noise import NOISE_FOLDER
from hybridspeech.commands.evaluate import evaluate
from hybridspeech.commands.preprocess import preprocess
from hybridspeech.commands.synthesize import synthesize
from hybridspeech.commands.train import train
from hybridspeech.config import EngineConfig, FeatureConfig
from hybridspeech.manifest.config import ManifestConfig
from hybridspeech.models.config import ModelConfig
from hybridspeech.processes.resources import num_cores
from hybridspeech.shards.content import read_checked
from hybridspeech.shards.index import ShardIndex
from hybridspeech.shards.reader import Example
from hybridspeech.training.config import FitConfig
from hybridspeech.training.recipes import FINE_TUNING_BATCH


def measure(
    source: Path,
    scratch: Path,
    *,
    network: Mapping[str, Any],
    clips_per_word: int,
    recordings_per_word: int,
    epochs: Mapping[str, int],
    seed: int,
) -> Outcome:
    """Return the accuracy of the fine-tuned network on the testing split of `source`; the facts hold all three.

    Parameters
    ----------
    source : waveform shards of real clips; recordings for training are taken from their training split
    network : `features`, `model` and `width` of the network
    clips_per_word, recordings_per_word : number of synthetic clips, and of recordings, of each word
    epochs : number of epochs of the trainings "synthetic", "fine-tuned" and "recorded"; without a number the recipe's
    """
    started = time.monotonic()
    index = ShardIndex.load(source)
    synthetic, recorded = scratch / "synthetic", scratch / "recorded"
    synthesize(synthetic, words=index.labels, variety="varied", clips_per_word=clips_per_word, seed=seed)
    write_recordings(source, index, recordings_per_word, seed, recorded)
    shutil.copytree(synthetic / NOISE_FOLDER, recorded / NOISE_FOLDER)
    starts = {"synthetic": (synthetic, None), "fine-tuned": (recorded, "synthetic"), "recorded": (recorded, None)}
    facts: dict[str, Any] = {
        "labels": list(index.labels),
        "clips_per_word": clips_per_word,
        "recordings_per_word": recordings_per_word,
        "starts": {},
    }
    for name, (clips, init_from) in starts.items():
        shards, run = scratch / f"{clips.name}-shards", scratch / f"run-{name}"
        if not shards.exists():
            make_shards(clips, shards, split="auto" if clips == synthetic else "none")
        settings: dict[str, Any] = {"epochs": epochs.get(name), "seed": seed}
        if clips == recorded:  # a batch of the recipe would be half of the recordings
            settings["batch_size"] = FINE_TUNING_BATCH
        result = train(
            shards,
            run,
            features=FeatureConfig(kind=network["features"]),
            model=ModelConfig(name=network["model"], width=network["width"]),
            fit=FitConfig(**settings),
            init_from=scratch / f"run-{init_from}" if init_from else None,
            backend="local",
        )
        tested = evaluate(run, source, split="testing")
        facts["starts"][name] = {
            "accuracy": tested.accuracy,
            "interval": tested.accuracy_ci95,
            "epochs": len(result.history),
            "training_accuracy": result.history[-1]["accuracy"],
        }
    facts |= {"num_clips": tested.num_clips, "num_speakers": tested.num_speakers}
    facts["seconds"] = time.monotonic() - started
    return Outcome(value=facts["starts"]["fine-tuned"]["accuracy"], facts=facts)


def make_shards(clips: Path, shards: Path, split: Any) -> None:
    """Make waveform shards of a folder."""
    preprocess(
        clips,
        shards,
        features=FeatureConfig(kind="waveform"),
        manifest=ManifestConfig(split=split),
        engine="local",
        engine_config=EngineConfig(num_executors=num_cores()),
    )


def write_recordings(source: Path, index: ShardIndex, count: int, seed: int, out: Path) -> None:
    """Write `count` training clips of each word as files, drawn by a hash of the seed; no speaker twice for a word."""
    drawn = sorted(
        (hashlib.sha256(f"{seed}\0{example.clip_id}".encode()).digest(), example.label_name, _speaker(example), place)
        for place, example in _training_clips(source, index)
    )
    chosen: dict[str, dict[str, tuple[str, int]]] = {label: {} for label in index.labels}
    for _, label, speaker, place in drawn:
        if len(chosen[label]) < count:
            chosen[label].setdefault(speaker, place)
    places = {place for by_speaker in chosen.values() for place in by_speaker.values()}
    for place, example in _training_clips(source, index):
        if place in places:
            path = out / example.label_name / f"{_speaker(example)}_nohash_0.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_wav(path, example.values, index.features.sample_rate_hz)


def _speaker(example: Example) -> str:
    """Return the speaker of a clip; an unknown speaker has one clip."""
    return example.speaker or hashlib.sha256(example.clip_id.encode()).hexdigest()[:8]


def _training_clips(source: Path, index: ShardIndex) -> Iterator[tuple[tuple[str, int], Example]]:
    """Yield the place, which is shard and number, and the content of each training clip."""
    for shard in index.of_split("training"):
        for number, example in enumerate(read_checked(source, index, shard)):
            yield (shard.name, number), example


def _write_wav(path: Path, samples: np.ndarray, sample_rate_hz: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
