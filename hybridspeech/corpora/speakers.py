"""Synthetic speakers: their properties, and the clips of a list of words.

A speaker has an accent, a voice, a pitch, a rate, a level, a room response and a background noise; a seed and the index
of the speaker determine all of them. Knows nothing of files and folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybridspeech.corpora.espeak import SAMPLE_RATE_HZ as ESPEAK_RATE_HZ
from hybridspeech.corpora.espeak import Voice, speak
from hybridspeech.manifest.splits import split_by_hash

SAMPLE_RATE_HZ = 16_000

# The English accents of espeak-ng except the one that drops the h of happy and house, and its voices whose words are
# clear (close to the same words of the other voices) and do not clip. The voices of kind klatt 6, such as Reed, are left
# out too: they use the C library's rand(), so that their samples depend on the process.
_MAIN_ACCENTS = ("en-us", "en")
_OTHER_ACCENTS = ("en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-us-nyc")
_FEMALE = ("f1", "f2", "f3", "f4", "f5", "anika", "aunty", "belinda", "grandma", "linda", "steph")
_MALE = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Michael", "Mike", "adam", "grandpa", "max", "robert")
_MAIN_VOICES = tuple(f"{accent}+{variant}" for accent in _MAIN_ACCENTS for variant in _FEMALE + _MALE)
VOICES = _MAIN_VOICES + tuple(f"{accent}+{variant}" for accent in _OTHER_ACCENTS for variant in _FEMALE + _MALE)
"""Names of the voices of `make_speakers`: first those of the two main accents, then those of the others."""

_SPLIT_OF_TEN = ("training", "testing", "validation", *["training"] * 7)
"""Splits of speakers 0 to 9, repeated for further ones. Three speakers give all splits."""


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """One synthetic speaker; it depends on the seed and the index, not on the number of speakers.

    `level` is the highest peak of a clip (full scale = 1.0); `noise` is the RMS of the background noise relative to it;
    `echo` is the amplitude (root of the energy) of the room response relative to the direct sound.
    """

    index: int
    speaker_id: str
    split: str
    voice: Voice
    level: float
    noise: float
    echo: float


def make_speakers(num_speakers: int, seed: int) -> list[Speaker]:
    """Make the speakers of a seed: ids that the hash rule puts into the wanted splits, and voices in random order.

    Each voice is used once before any is used again. The first 52 speakers have the main accents: if each word has few
    clips, a network can't learn an accent that occurs once or twice.
    """
    rng = np.random.default_rng([seed, 0])
    order = [*rng.permutation(VOICES[: len(_MAIN_VOICES)]), *rng.permutation(VOICES[len(_MAIN_VOICES) :])]
    speakers: dict[str, Speaker] = {}
    for index in range(num_speakers):
        split = _SPLIT_OF_TEN[index % len(_SPLIT_OF_TEN)]
        speaker_id = ""
        while not speaker_id or speaker_id in speakers or split_by_hash(speaker_id) != split:
            speaker_id = f"{rng.integers(2**32):08x}"
        speakers[speaker_id] = Speaker(
            index=index,
            speaker_id=speaker_id,
            split=split,
            voice=Voice(
                name=str(order[index % len(order)]),
                rate_wpm=int(rng.integers(140, 176)),
                pitch=int(rng.integers(36, 65)),
                pitch_range=int(rng.integers(35, 66)),
            ),
            level=float(10 ** rng.uniform(-0.7, -0.15)),
            noise=float(10 ** rng.uniform(-3.0, -2.2)),
            echo=float(10 ** rng.uniform(-1.5, -0.7)),
        )
    return list(speakers.values())


def synthesize_words(speaker: Speaker, take: int, words: Sequence[str], seed: int) -> list[np.ndarray]:
    """Synthesize each word once; takes of a speaker differ a little in rate and pitch, and share the room response.

    Returns
    -------
    list of int16 [shape=(num_samples,)], one per word, mono, at SAMPLE_RATE_HZ, num_samples <= 16000
    """
    rng = np.random.default_rng([seed, 1, speaker.index, take])
    voice = replace(
        speaker.voice,
        rate_wpm=speaker.voice.rate_wpm + int(rng.integers(-8, 9)),
        pitch=speaker.voice.pitch + int(rng.integers(-4, 5)),
    )
    room = _room(speaker, seed)
    raw = speak(words, voice, seed=int(rng.integers(2**31)))
    return [_in_room(_trim(word), speaker, room, rng) for word in raw]


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Convert a waveform (full scale = 1.0 is 32,767) to little-endian int16, clipped."""
    return np.clip(np.round(wave * 32767), -32768, 32767).astype("<i2")


def _room(speaker: Speaker, seed: int) -> np.ndarray:
    """Compute the frequency response of the speaker's room: the direct sound, then noise that decays within 0.2 s.

    Returns
    -------
    complex128 [shape=(8001,)], for a second at SAMPLE_RATE_HZ
    """
    rng = np.random.default_rng([seed, 2, speaker.index])
    times = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
    response = rng.standard_normal(times.size) * np.exp(-times / rng.uniform(0.01, 0.04))
    response *= speaker.echo / np.linalg.norm(response)
    response[0] += 1.0
    return np.fft.rfft(response, SAMPLE_RATE_HZ)


def _trim(spoken: np.ndarray) -> np.ndarray:
    """Remove the silence before and after a word.

    Returns
    -------
    float64 [shape=(num_samples,)], peak 1.0
    """
    wave = spoken / max(1, np.abs(spoken.astype(np.int32)).max(initial=0))
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    return wave[loud[0] : loud[-1] + 1] if loud.size else np.zeros(1)


def _in_room(voice: np.ndarray, speaker: Speaker, room: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place a word in the middle of one second (deviation 15 ms), resample it, add room response and noise; cut 1 in 12.

    Returns
    -------
    int16 [shape=(num_samples,)], mono, at SAMPLE_RATE_HZ, num_samples <= 16000
    """
    second = np.zeros(ESPEAK_RATE_HZ)
    voice = voice[:ESPEAK_RATE_HZ]
    spare = ESPEAK_RATE_HZ - voice.size
    start = min(spare, max(0, spare // 2 + int(rng.normal(0.0, 0.015) * ESPEAK_RATE_HZ)))
    second[start : start + voice.size] = voice
    spectrum = np.fft.rfft(second)[
        : SAMPLE_RATE_HZ // 2 + 1
    ]  # resamples: the spectrum is cut at the new Nyquist frequency
    clip = np.fft.irfft(spectrum * room, SAMPLE_RATE_HZ)
    clip *= speaker.level * rng.uniform(0.8, 1.0) / np.abs(clip).max()
    clip += speaker.level * speaker.noise * rng.standard_normal(SAMPLE_RATE_HZ)
    if rng.random() < 1 / 12:
        end = (start + voice.size) * SAMPLE_RATE_HZ // ESPEAK_RATE_HZ
        clip = clip[: int(rng.integers(end, SAMPLE_RATE_HZ + 1))]
    return to_int16(clip)
