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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from hybridspeech.audio.background_noise import NOISE_FOLDER
from hybridspeech.config import SPLITS
from hybridspeech.corpora.speakers import (
    ENGLISH,
    SAMPLE_RATE_HZ,
    SIMILAR,
    Speaker,
    Variety,
    make_speakers,
    synthesize_words,
    to_int16,
)
from hybridspeech.corpora.word_list import Word
from hybridspeech.manifest.config import UNKNOWN
from hybridspeech.manifest.splits import TESTING_LIST, VALIDATION_LIST
from hybridspeech.records import check

SYNTHESIS_NAME = "synthesis.json"
NOISE_DURATION_S = 10

WORDS = (
    *("bed", "bird", "cat", "dog", "down", "eight", "five", "four", "go", "happy"),
    *("house", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven"),
    *("sheila", "six", "stop", "three", "tree", "two", "up", "wow", "yes", "zero"),
)
"""The 30 words of Speech Commands v0.01."""

_README = """# Synthetic speech

{num_clips:,} clips: {num_words} words, spoken by {num_speakers} synthetic speakers. No person was recorded: the voices
are those of eSpeak NG, and rooms and noises are computed. Made by `hybridspeech data synthesize` with seed {seed}; the
layout is that of Speech Commands v0.01 (Warden, 2017). Suitable for trying things out, for measuring speed, and for a first
model of words without recordings; not for judging a model.
"""
BLOCK = 64
"""Number of texts that are spoken in one call: their samples are in memory together."""
NEGATIVE_SHARE = 10
"""A near miss has a tenth of the clips of a word."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One clip to make; `take` numbers the clips of a speaker in a folder."""

    label: str
    take: int
    text: str


@dataclass(frozen=True, kw_only=True)
class SynthesisPlan:
    """What to synthesize: `clips_per_word` clips of each word; the speakers take turns, and so do the texts of a word.

    Parameters
    ----------
    negatives : texts of the label UNKNOWN that are made besides the words, with a tenth of the clips of a word each
    num_speakers : None gives each clip of a word its own speaker
    language, variety : as in `make_speakers`
    clip_duration_ms : longest duration of a clip

    Raises
    ------
    ConfigError: there is no word, a label is there twice, or a number is out of range.
    """

    words: tuple[Word, ...]
    negatives: tuple[str, ...] = ()
    clips_per_word: int = 50
    num_speakers: int | None = None
    language: str = ENGLISH
    variety: Variety = SIMILAR
    clip_duration_ms: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        check(bool(self.words), "there is no word; expected one or more")
        is_unique = len({word.label for word in self.words}) == len(self.words)
        check(is_unique, f"words are {[word.label for word in self.words]}; expected each label once")
        check(self.seed >= 0, f"seed is {self.seed}; expected 0 or more")
        check(self.clips_per_word >= 1, f"clips_per_word is {self.clips_per_word}; expected 1 or more")
        check(
            self.num_speakers is None or self.num_speakers >= 1,
            f"num_speakers is {self.num_speakers}; expected 1 or more",
        )
        check(
            100 <= self.clip_duration_ms <= 60_000,
            f"clip duration is {self.clip_duration_ms} ms; expected 100 to 60000",
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, each once; UNKNOWN is among them if there are negatives."""
        return tuple(dict.fromkeys([*(word.label for word in self.words), *([UNKNOWN] if self.negatives else [])]))

    @property
    def num_negative_clips(self) -> int:
        """Number of clips of all near misses."""
        return len(self.negatives) * max(1, self.clips_per_word // NEGATIVE_SHARE)

    @property
    def num_clips(self) -> int:
        """Number of clips of all words and near misses."""
        return self.clips_per_word * len(self.words) + self.num_negative_clips

    @cached_property
    def speakers(self) -> list[Speaker]:
        """The speakers; no more than there are clips per word."""
        num_speakers = min(self.num_speakers or self.clips_per_word, self.clips_per_word)
        return make_speakers(num_speakers, self.seed, self.language, self.variety)

    def speaker(self, turn: int) -> Speaker:
        """Return the speaker of a turn, one of `clips_per_word`."""
        return self.speakers[turn % len(self.speakers)]

    def utterances(self, turn: int) -> Iterator[Utterance]:
        """Yield what is spoken in a turn: each word once, and some near misses."""
        take = turn // len(self.speakers)
        for word in self.words:
            yield Utterance(label=word.label, take=take, text=word.texts[turn % len(word.texts)])
        most = -(-self.num_negative_clips // self.clips_per_word)
        first = take * most + -(-self.clips_per_word // len(self.speakers))  # after the takes of a word of this label
        for number, i in enumerate(range(turn, self.num_negative_clips, self.clips_per_word), start=first):
            yield Utterance(label=UNKNOWN, take=number, text=self.negatives[i % len(self.negatives)])

    def parts(self) -> list[tuple[int, int]]:
        """Return (turn, block) of all clips: each part is made in one go."""
        num_spoken = len(self.words) + -(-self.num_negative_clips // self.clips_per_word)
        return [(turn, block) for turn in range(self.clips_per_word) for block in range(-(-num_spoken // BLOCK))]


def write_clips(folder: str, plan: SynthesisPlan, parts: Sequence[tuple[int, int]]) -> int:
    """Write the clips of some parts, and return their number."""
    num_clips = 0
    for turn, block in parts:
        speaker = plan.speaker(turn)
        spoken = list(islice(plan.utterances(turn), block * BLOCK, (block + 1) * BLOCK))
        if not spoken:
            continue
        clips = synthesize_words(
            speaker,
            turn // len(plan.speakers),
            [each.text for each in spoken],
            plan.seed,
            block=block,
            clip_duration_ms=plan.clip_duration_ms,
        )
        for each, samples in zip(spoken, clips, strict=True):
            _write_wav(Path(folder, clip_name(speaker, each)), samples)
        num_clips += len(spoken)
    return num_clips


def clip_name(speaker: Speaker, utterance: Utterance) -> str:
    """Return the path of a clip, relative to the data set."""
    return f"{utterance.label}/{speaker.speaker_id}_nohash_{utterance.take}.wav"


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
    for turn in range(plan.clips_per_word):
        speaker = plan.speaker(turn)
        ids[speaker.split] += [clip_name(speaker, each) for each in plan.utterances(turn)]
    for split, name in (("testing", TESTING_LIST), ("validation", VALIDATION_LIST)):
        (folder / name).write_text("".join(f"{clip_id}\n" for clip_id in sorted(ids[split])), encoding="utf-8")
    return {split: len(clips) for split, clips in ids.items()}


def write_description(folder: Path, plan: SynthesisPlan) -> None:
    """Write README.md and synthesis.json."""
    counts = {"num_clips": plan.num_clips, "num_words": len(plan.words), "num_speakers": len(plan.speakers)}
    (folder / "README.md").write_text(_README.format(**counts, seed=plan.seed), encoding="utf-8")
    settings: dict[str, Any] = {**counts, "words": [word.label for word in plan.words], "seed": plan.seed}
    settings |= {"language": plan.language, "clip_duration_ms": plan.clip_duration_ms}
    spellings = {word.label: list(word.texts) for word in plan.words if word.texts != (word.label,)}
    settings |= {"texts": spellings} if spellings else {}
    settings |= {"negatives": list(plan.negatives)} if plan.negatives else {}
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (folder / SYNTHESIS_NAME).write_text(text + "\n", encoding="utf-8")


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())
