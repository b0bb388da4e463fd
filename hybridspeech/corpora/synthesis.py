"""Writes a synthetic data set in the layout of Speech Commands.

    FOLDER/
      yes/0c540988_nohash_0.wav ...          speaker and take; PCM 16, mono, 16 kHz, at most 1 s
      _background_noise_/                    white noise, pink noise and mains hum
      testing_list.txt  validation_list.txt  the splits of the hash rule
      README.md  synthesis.json

The same plan gives the same bytes. Knows nothing of engines, spectrograms and shards.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hybridspeech.audio.background_noise import NOISE_FOLDER
from hybridspeech.config import SPLITS, check
from hybridspeech.corpora.speakers import SAMPLE_RATE_HZ, Speaker, make_speakers, synthesize_words, to_int16
from hybridspeech.manifest.splits import TESTING_LIST, VALIDATION_LIST

SYNTHESIS_NAME = "synthesis.json"
NOISE_DURATION_S = 10

WORDS = (
    *("bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy"),
    *("house", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven"),
    *("sheila", "six", "stop", "three", "tree", "two", "up", "wow", "yes", "zero"),
)
"""The 30 words of Speech Commands v0.01."""

_README = """# Synthetic speech commands

{num_clips:,} clips: {num_words} words, spoken by {num_speakers} synthetic speakers. No person was recorded: the voices
are those of eSpeak NG, and rooms and noises are computed. Made by `hybridspeech data synthesize` with seed {seed}; the
layout is that of Speech Commands v0.01 (Warden, 2017). Suitable for trying things out and for measuring speed; not for
judging a model.
"""


@dataclass(frozen=True, kw_only=True)
class SynthesisPlan:
    """What to synthesize: `clips_per_word` clips of each word; the speakers take turns.

    `num_speakers` None gives each clip of a word its own speaker.

    Raises
    ------
    ConfigError: a word is no valid folder name or is there twice, or a number is out of range.
    """

    words: tuple[str, ...] = WORDS
    clips_per_word: int = 50
    num_speakers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        is_unique = bool(self.words) and len(set(self.words)) == len(self.words)
        check(is_unique, f"words are {list(self.words)}; expected one or more, each once")
        for word in self.words:
            is_name = word.isprintable() and word.strip() and not word.startswith(("_", ".")) and "/" not in word
            check(bool(is_name), f"word {word!r} can't be the name of a word folder; expected letters")
        check(self.seed >= 0, f"seed is {self.seed}; expected 0 or more")
        check(self.clips_per_word >= 1, f"clips_per_word is {self.clips_per_word}; expected 1 or more")
        check(
            self.num_speakers is None or self.num_speakers >= 1,
            f"num_speakers is {self.num_speakers}; expected 1 or more",
        )

    @property
    def num_clips(self) -> int:
        """Number of clips of all words."""
        return self.clips_per_word * len(self.words)

    @cached_property
    def speakers(self) -> list[Speaker]:
        """The speakers; no more than there are clips per word."""
        return make_speakers(min(self.num_speakers or self.clips_per_word, self.clips_per_word), self.seed)

    def takes(self) -> list[tuple[Speaker, int]]:
        """Return speaker and take number of each clip of a word."""
        speakers = self.speakers
        return [(speakers[i % len(speakers)], i // len(speakers)) for i in range(self.clips_per_word)]


def write_clips(folder: str, plan: SynthesisPlan, takes: Sequence[tuple[Speaker, int]]) -> int:
    """Write one clip of each word for each take, and return their number."""
    for speaker, take in takes:
        for word, samples in zip(plan.words, synthesize_words(speaker, take, plan.words, plan.seed), strict=True):
            _write_wav(Path(folder, word, f"{speaker.speaker_id}_nohash_{take}.wav"), samples)
    return len(takes) * len(plan.words)


def write_noises(folder: Path, seed: int) -> None:
    """Write the recordings of background noise."""
    rng = np.random.default_rng([seed, 3])
    num_samples = NOISE_DURATION_S * SAMPLE_RATE_HZ
    white = rng.standard_normal(num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum[1:] /= np.sqrt(np.arange(1, spectrum.size))
    pink = np.fft.irfft(spectrum, num_samples)
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    hum = sum(np.sin(2 * np.pi * 50 * harmonic * times) / harmonic for harmonic in (1, 2, 3, 5)) + 0.05 * white
    for name, noise in (("white_noise", white), ("pink_noise", pink), ("mains_hum", hum)):
        _write_wav(folder / NOISE_FOLDER / f"{name}.wav", to_int16(0.5 * noise / np.abs(noise).max()))


def write_lists(folder: Path, plan: SynthesisPlan) -> dict[str, int]:
    """Write the lists of the testing and validation splits, and return the number of clips per split."""
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    for speaker, take in plan.takes():
        ids[speaker.split] += [f"{word}/{speaker.speaker_id}_nohash_{take}.wav" for word in plan.words]
    for split, name in (("testing", TESTING_LIST), ("validation", VALIDATION_LIST)):
        (folder / name).write_text("".join(f"{clip_id}\n" for clip_id in sorted(ids[split])), encoding="utf-8")
    return {split: len(clips) for split, clips in ids.items()}


def write_description(folder: Path, plan: SynthesisPlan) -> None:
    """Write README.md and synthesis.json."""
    counts = {"num_clips": plan.num_clips, "num_words": len(plan.words), "num_speakers": len(plan.speakers)}
    (folder / "README.md").write_text(_README.format(**counts, seed=plan.seed), encoding="utf-8")
    settings = {**counts, "words": list(plan.words), "seed": plan.seed}
    (folder / SYNTHESIS_NAME).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())
