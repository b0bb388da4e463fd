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
from hybridspeech.records import check

SAMPLE_RATE_HZ = 16_000
MAX_RATE_WPM = 450
ENGLISH = "en"

# The English accents of espeak-ng except the one that drops the h of happy and house, and its voices whose words are
# clear (close to the same words of the other voices) and do not clip. The voices of kind klatt 6, such as Reed, are left
# out too: they use the C library's rand(), so that their samples depend on the process.
_MAIN_ACCENTS = ("en-us", "en")
_OTHER_ACCENTS = ("en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-us-nyc")
_FEMALE = ("f1", "f2", "f3", "f4", "f5", "anika", "aunty", "belinda", "grandma", "linda", "steph")
_MALE = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Michael", "Mike", "adam", "grandpa", "max", "robert")
_MAIN_VOICES = tuple(f"{accent}+{variant}" for accent in _MAIN_ACCENTS for variant in _FEMALE + _MALE)
VARIANTS = _FEMALE + _MALE
VOICES = _MAIN_VOICES + tuple(f"{accent}+{variant}" for accent in _OTHER_ACCENTS for variant in _FEMALE + _MALE)
"""Names of the voices of `make_speakers`: first those of the two main accents, then those of the others."""

_SPLIT_OF_TEN = ("training", "testing", "validation", *["training"] * 7)
"""Splits of speakers 0 to 9, repeated for further ones. Three speakers give all splits."""


@dataclass(frozen=True, kw_only=True)
class Variety:
    """How much speakers differ. Each pair is a range, from which values are drawn evenly.

    Parameters
    ----------
    rate_wpm : words per minute
    pitch, pitch_range : on espeak-ng's scale of 0 to 99; integers
    noise_log10, echo_log10 : logarithms of `Speaker.noise` and `Speaker.echo`
    """

    rate_wpm: tuple[int, int] = (140, 176)
    pitch: tuple[int, int] = (36, 65)
    pitch_range: tuple[int, int] = (35, 66)
    noise_log10: tuple[float, float] = (-3.0, -2.2)
    echo_log10: tuple[float, float] = (-1.5, -0.7)


SIMILAR = Variety()
"""For a demo: a network learns from few clips."""
VARIED = Variety(rate_wpm=(110, 216), pitch=(15, 86), pitch_range=(20, 86), noise_log10=(-3.0, -1.3))
"""For words of a user: recordings of people are less alike than the voices of SIMILAR."""


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


def voices_of(language: str) -> tuple[tuple[str, ...], ...]:
    """Return the names of the voices of a language, in groups; the voices of a group are used before those of the next.

    Parameters
    ----------
    language : "en" for all accents of VOICES, or codes of espeak-ng with commas between them, such as "de" or "es,es-419"
    """
    if language == ENGLISH:
        return VOICES[: len(_MAIN_VOICES)], VOICES[len(_MAIN_VOICES) :]
    return (tuple(f"{accent}+{variant}" for accent in language.split(",") for variant in VARIANTS),)


def accents_of(language: str) -> tuple[str, ...]:
    """Return the codes of espeak-ng of the voices of a language."""
    return (*_MAIN_ACCENTS, *_OTHER_ACCENTS) if language == ENGLISH else tuple(language.split(","))


def make_speakers(num_speakers: int, seed: int, language: str = ENGLISH, variety: Variety = SIMILAR) -> list[Speaker]:
    """Make the speakers of a seed: ids that the hash rule puts into the wanted splits, and voices in random order.

    Each voice is used once before any is used again. The first 52 English speakers have the main accents: if each word has
    few clips, a network can't learn an accent that occurs once or twice.
    """
    rng = np.random.default_rng([seed, 0])
    order = [str(voice) for group in voices_of(language) for voice in rng.permutation(group)]
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
                name=order[index % len(order)],
                rate_wpm=int(rng.integers(*variety.rate_wpm)),
                pitch=int(rng.integers(*variety.pitch)),
                pitch_range=int(rng.integers(*variety.pitch_range)),
            ),
            level=float(10 ** rng.uniform(-0.7, -0.15)),
            noise=float(10 ** rng.uniform(*variety.noise_log10)),
            echo=float(10 ** rng.uniform(*variety.echo_log10)),
        )
    return list(speakers.values())


def synthesize_words(
    speaker: Speaker, take: int, words: Sequence[str], seed: int, *, block: int = 0, clip_duration_ms: int = 1_000
) -> list[np.ndarray]:
    """Synthesize each word once; takes of a speaker differ a little in rate and pitch, and share the room response.

    A word that is longer than a clip is spoken faster.

    Parameters
    ----------
    block : number of the list of words, if a take has several

    Returns
    -------
    list of int16 [shape=(num_samples,)], one per word, mono, at SAMPLE_RATE_HZ, at most `clip_duration_ms` long

    Raises
    ------
    ConfigError: the voice is silent for a word.
    """
    rng = np.random.default_rng([seed, 1, speaker.index, take, *([block] if block else [])])
    voice = replace(
        speaker.voice,
        rate_wpm=speaker.voice.rate_wpm + int(rng.integers(-8, 9)),
        pitch=speaker.voice.pitch + int(rng.integers(-4, 5)),
    )
    room = _room(speaker, seed, SAMPLE_RATE_HZ * clip_duration_ms // 1000)
    draw = int(rng.integers(2**31))
    limit = ESPEAK_RATE_HZ * clip_duration_ms // 1000
    spoken = [_trim(word) for word in speak(words, voice, seed=draw)]
    for text, word in zip(words, spoken, strict=True):
        check(word.size > 1, f"the voice {voice.name!r} is silent for {text!r}; spell it in another way")
    fitting = [
        _spoken_faster(text, replace(voice, rate_wpm=_faster(voice.rate_wpm, word.size / limit)), draw)
        if word.size > limit
        else word
        for text, word in zip(words, spoken, strict=True)
    ]
    return [_in_room(word, speaker, room, rng, limit) for word in fitting]


def spoken_seconds(texts: Sequence[str], language: str) -> list[float]:
    """Return how long each text takes at the usual rate, in seconds."""
    return [_trim(word).size / ESPEAK_RATE_HZ for word in speak(texts, Voice(name=accents_of(language)[0]))]


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Convert a waveform (full scale = 1.0 is 32,767) to little-endian int16, clipped."""
    return np.clip(np.round(wave * 32767), -32768, 32767).astype("<i2")


def _faster(rate_wpm: int, ratio: float) -> int:
    return min(MAX_RATE_WPM, int(np.ceil(rate_wpm * ratio * 1.05)))


def _spoken_faster(text: str, voice: Voice, seed: int) -> np.ndarray:
    return _trim(speak([text], voice, seed=seed)[0])


def _room(speaker: Speaker, seed: int, num_samples: int) -> np.ndarray:
    """Compute the frequency response of the speaker's room: the direct sound, then noise that decays within 0.2 s.

    Returns
    -------
    complex128 [shape=(num_samples // 2 + 1,)], for clips of `num_samples` at SAMPLE_RATE_HZ
    """
    rng = np.random.default_rng([seed, 2, speaker.index])
    times = np.arange(SAMPLE_RATE_HZ // 5) / SAMPLE_RATE_HZ
    response = rng.standard_normal(times.size) * np.exp(-times / rng.uniform(0.01, 0.04))
    response *= speaker.echo / np.linalg.norm(response)
    response[0] += 1.0
    return np.fft.rfft(response, num_samples)


def _trim(spoken: np.ndarray) -> np.ndarray:
    """Remove the silence before and after a word.

    Returns
    -------
    float64 [shape=(num_samples,)], peak 1.0
    """
    wave = spoken / max(1, np.abs(spoken.astype(np.int32)).max(initial=0))
    loud = np.flatnonzero(np.abs(wave) > 0.01)
    return wave[loud[0] : loud[-1] + 1] if loud.size else np.zeros(1)


def _in_room(voice: np.ndarray, speaker: Speaker, room: np.ndarray, rng: np.random.Generator, limit: int) -> np.ndarray:
    """Place a word in the middle of a clip (deviation 15 ms), resample it, add room response and noise; cut 1 in 12.

    Parameters
    ----------
    limit : length of a clip, in samples at the rate of espeak-ng

    Returns
    -------
    int16 [shape=(num_samples,)], mono, at SAMPLE_RATE_HZ, at most as long as a clip
    """
    num_samples = 2 * (room.size - 1)
    whole = np.zeros(limit)
    voice = voice[:limit]
    spare = limit - voice.size
    start = min(spare, max(0, spare // 2 + int(rng.normal(0.0, 0.015) * ESPEAK_RATE_HZ)))
    whole[start : start + voice.size] = voice
    spectrum = np.fft.rfft(whole)[: room.size]  # resamples: the spectrum is cut at the new Nyquist frequency
    clip = np.fft.irfft(spectrum * room, num_samples)
    clip *= speaker.level * rng.uniform(0.8, 1.0) / np.abs(clip).max()
    clip += speaker.level * speaker.noise * rng.standard_normal(num_samples)
    if rng.random() < 1 / 12:
        end = (start + voice.size) * num_samples // limit
        clip = clip[: int(rng.integers(end, num_samples + 1))]
    return to_int16(clip)
