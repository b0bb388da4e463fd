"""The verb `data synthesize`: a spoken set in the layout of Speech Commands, by espeak-ng, for demos and benchmarks.

    OUT/
      yes/0c540988_nohash_0.wav ...          speaker and take; PCM 16 bit, mono, 16 kHz, at most 1 s
      _background_noise_/                    white noise, pink noise and mains hum
      testing_list.txt  validation_list.txt  what the hash rule gives
      README.md  synthesis.json              put there last, so its presence means: whole

The same seed and words give the same bytes, for any number of processes. Until the set is whole it stands in
``OUT/_unfinished``, and `read_manifest` refuses it. Knows nothing of voices and rooms, spectrograms and shards.
"""

from __future__ import annotations

import json
import shutil
import time
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from hybridspeech.config import SPLITS, EngineConfig, OnProgress, Progress, silent
from hybridspeech.corpora.speakers import SAMPLE_RATE_HZ, Speaker, cast, record, to_int16
from hybridspeech.engines import ENGINES
from hybridspeech.errors import ConfigError
from hybridspeech.manifest.folders import UNFINISHED_NAME
from hybridspeech.manifest.splits import TESTING_LIST, VALIDATION_LIST
from hybridspeech.processes.resources import num_cores
from hybridspeech.registry import requires
from hybridspeech.storage.locations import refuse_urls
from hybridspeech.storage.output import claim_output

SYNTHESIS_NAME = "synthesis.json"
NOISE_FOLDER = "_background_noise_"
NOISE_DURATION_S = 10

WORDS = (
    *("bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy"),
    *("house", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven"),
    *("sheila", "six", "stop", "three", "tree", "two", "up", "wow", "yes", "zero"),
)
"""The 30 words of Speech Commands v0.01."""

_README = """# Synthetic speech commands

{num_clips:,} clips: {num_words} words, spoken by {num_speakers} made-up speakers. No person was recorded: the voices
are eSpeak NG's, and rooms and noises are computed. Made by `hybridspeech data synthesize` with seed {seed}; the layout
is that of Speech Commands v0.01 (Warden, 2017). Good for trying things out and for measuring speed; not for judging a
model.
"""


@dataclass(frozen=True, kw_only=True)
class SynthesizeResult:
    """What was made; `splits` are clips per split."""

    out: str
    num_clips: int
    num_words: int
    num_speakers: int
    splits: Mapping[str, int]
    seconds: float
    clips_per_s: float


def synthesize(
    out: str | Path,
    *,
    words: Sequence[str] = WORDS,
    clips_per_word: int = 50,
    num_speakers: int | None = None,
    seed: int = 0,
    num_workers: int | None = None,
    overwrite: bool = False,
    on_progress: OnProgress = silent,
) -> SynthesizeResult:
    """Make a spoken set: `clips_per_word` clips of each word, the speakers taking turns.

    Parameters
    ----------
    num_speakers : None gives each clip of a word its own speaker
    num_workers : processes; None takes all cores. The bytes do not depend on it

    Raises
    ------
    ConfigError: a setting can't work. MissingExtraError: espeakng-loader is not installed. OutputExistsError: `out` is
        not empty. EngineError: a process failed, e.g. because the disk is full.
    """
    _check(words, clips_per_word=clips_per_word, num_speakers=num_speakers, seed=seed, num_workers=num_workers)
    with requires("demo", "speech synthesis"):
        import espeakng_loader  # noqa: F401 - said before anything is written
    started = time.monotonic()
    refuse_urls(OUT=out)
    out = Path(out).absolute()
    num_clips = clips_per_word * len(words)
    speakers = cast(min(num_speakers or clips_per_word, clips_per_word), seed)
    with claim_output(out, marks=(SYNTHESIS_NAME, UNFINISHED_NAME), overwrite=overwrite, resume=False):
        work = out / UNFINISHED_NAME
        try:
            for folder in (*words, NOISE_FOLDER):
                (work / folder).mkdir(parents=True)
            _speak_all(work, words, speakers, clips_per_word, seed, num_workers or num_cores(), on_progress)
            _write_noises(work / NOISE_FOLDER, seed)
            splits = _write_lists(work, words, speakers, clips_per_word)
            facts = {"num_clips": num_clips, "num_words": len(words), "num_speakers": len(speakers)}
            (work / "README.md").write_text(_README.format(**facts, seed=seed), encoding="utf-8")
            settings = {**facts, "words": list(words), "seed": seed}
            (work / SYNTHESIS_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
            for made in sorted(work.iterdir(), key=lambda path: (path.name == SYNTHESIS_NAME, path.name)):
                made.rename(out / made.name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    seconds = time.monotonic() - started
    return SynthesizeResult(out=str(out), **facts, splits=splits, seconds=seconds, clips_per_s=num_clips / seconds)


def _check(words: Sequence[str], *, seed: int, **counts: int | None) -> None:
    if not words or len(set(words)) != len(words):
        raise ConfigError(f"words are {list(words)}; expected one or more, each once")
    for word in words:
        if not word.isprintable() or not word.strip() or word.startswith(("_", ".")) or "/" in word:
            raise ConfigError(f"word {word!r} can't be the name of a word folder; expected letters")
    if seed < 0:
        raise ConfigError(f"seed is {seed}; expected 0 or more")
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ConfigError(f"{name} is {count}; expected 1 or more")


def _speak_all(
    work: Path,
    words: Sequence[str],
    speakers: Sequence[Speaker],
    clips_per_word: int,
    seed: int,
    num_workers: int,
    on_progress: OnProgress,
) -> None:
    total, done = clips_per_word * len(words), 0

    def count(num_clips: int) -> None:
        nonlocal done
        done += num_clips
        on_progress(Progress(stage="synthesize", done=done, total=total, unit="clips"))

    takes = [[(speakers[turn % len(speakers)], turn // len(speakers))] for turn in range(clips_per_word)]
    config = EngineConfig(num_executors=min(num_workers, clips_per_word))
    with ENGINES.load("local")(config) as engine:
        engine.map_partitions(partial(_say_words, str(work), tuple(words), seed), takes, count)


def _say_words(work: str, words: Sequence[str], seed: int, takes: Sequence[tuple[Speaker, int]]) -> int:
    """One speaker says all words once; in a worker process. Gives the number of clips."""
    for speaker, take in takes:
        for word, samples in zip(words, record(speaker, take, words, seed), strict=True):
            _write_wav(Path(work, word, f"{speaker.speaker_id}_nohash_{take}.wav"), samples)
    return len(takes) * len(words)


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())


def _write_noises(folder: Path, seed: int) -> None:
    rng = np.random.default_rng([seed, 3])
    num_samples = NOISE_DURATION_S * SAMPLE_RATE_HZ
    white = rng.standard_normal(num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum[1:] /= np.sqrt(np.arange(1, spectrum.size))
    pink = np.fft.irfft(spectrum, num_samples)
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * harmonic * times) / harmonic for harmonic in (1, 2, 3, 5)) + 0.05 * white
    for name, noise in (("white_noise", white), ("pink_noise", pink), ("mains_hum", hum)):
        _write_wav(folder / f"{name}.wav", to_int16(0.5 * noise / np.abs(noise).max()))


def _write_lists(work: Path, words: Sequence[str], speakers: Sequence[Speaker], clips_per_word: int) -> dict[str, int]:
    """Write the lists; number of clips per split."""
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    for turn in range(clips_per_word):
        speaker, take = speakers[turn % len(speakers)], turn // len(speakers)
        ids[speaker.split] += [f"{word}/{speaker.speaker_id}_nohash_{take}.wav" for word in words]
    for split, name in (("testing", TESTING_LIST), ("validation", VALIDATION_LIST)):
        (work / name).write_text("".join(f"{clip_id}\n" for clip_id in sorted(ids[split])), encoding="utf-8")
    return {split: len(clips) for split, clips in ids.items()}
