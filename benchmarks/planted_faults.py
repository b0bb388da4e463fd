"""Plants faults in a copy of a folder of words, by a seed, to measure how many of them an audit finds."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE_HZ = 16_000
NUM_FAULTS: Mapping[str, int] = {
    "label-doubt": 50,
    "exact-duplicate": 5,
    "near-duplicate": 15,
    "clipping": 15,
    "silence": 15,
    "cut": 15,
    "low-rate": 15,
}
"""Number of planted faults by the kind that the audit should report."""
FRAME = 320


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A planted fault. `original` is the clip that a duplicate was made of, or the id of a clip before its label changed."""

    kind: str
    clip_id: str
    original: str
    form: str


def plant(source: Path, out: Path, seed: int, counts: Mapping[str, int] = NUM_FAULTS) -> list[Fault]:
    """Copy a folder of words, and plant faults in the copy; each clip has at most one.

    A duplicate stands beside its original, half of them under another speaker's name. A clip with a wrong label keeps its
    speaker.
    """
    shutil.copytree(source, out)
    for path in out.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    generator = np.random.default_rng(seed)
    clips = sorted(path for path in out.glob("*/*.wav") if not path.parent.name.startswith("_"))
    chosen = iter([clips[i] for i in generator.permutation(len(clips))])
    faults = []
    for kind, count in counts.items():
        for number in range(count):
            path = next(chosen)
            while kind != "silence" and not _is_loud(read(path)):
                path = next(chosen)  # a fault in a silent clip can't be heard
            faults.append(_plant_one(kind, path, out, generator, number))
    return faults


def read(path: Path) -> np.ndarray:
    """Return the samples of a clip, float64."""
    wave, rate_hz = soundfile.read(path)
    if rate_hz != RATE_HZ:
        raise ValueError(f"{path}: {rate_hz} Hz; expected {RATE_HZ}")
    return np.asarray(wave)


def _is_loud(wave: np.ndarray) -> bool:
    return bool(_frames_db(wave).max() > -40)


def _plant_one(kind: str, path: Path, out: Path, generator: np.random.Generator, number: int) -> Fault:
    original = str(path.relative_to(out))
    if kind == "label-doubt":
        labels = sorted(folder.name for folder in out.iterdir() if folder.is_dir() and not folder.name.startswith("_"))
        label = str(generator.choice([label for label in labels if label != path.parent.name]))
        target, form = _free(out / label / path.name), f"{path.parent.name} -> {label}"
        path.rename(target)
        return Fault(kind=kind, clip_id=str(target.relative_to(out)), original=original, form=form)
    if kind.endswith("duplicate"):
        others = sorted({other.name.split("_nohash_")[0] for other in out.glob("*/*.wav")})
        speaker = str(generator.choice(others)) if number % 2 else path.name.split("_nohash_")[0]
        target = _free(path.with_name(f"{speaker}_nohash_0.wav"))
        form, change = list(COPIES.items())[number % len(COPIES)] if kind == "near-duplicate" else ("copy", _same)
        write(target, change(read(path), generator)) if form != "copy" else shutil.copy(path, target)
        return Fault(kind=kind, clip_id=str(target.relative_to(out)), original=original, form=form)
    form, change = list(CHANGES[kind].items())[number % len(CHANGES[kind])]
    write(path, change(read(path), generator))
    return Fault(kind=kind, clip_id=original, original=original, form=form)


def write(path: Path, wave: np.ndarray) -> None:
    """Write a clip as 16-bit PCM; what exceeds full scale is clipped."""
    soundfile.write(path, np.clip(wave, -1, 32_767 / 32_768), RATE_HZ, subtype="PCM_16")


def _free(path: Path) -> Path:
    speaker = path.name.split("_nohash_")[0]
    names = (path.with_name(f"{speaker}_nohash_{number}.wav") for number in range(1000))
    return path if not path.exists() else next(name for name in names if not name.exists())


def _same(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return wave


def _gain(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return wave * 10 ** (-generator.uniform(3, 12) / 20)


def _shift(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    by = int(generator.integers(320, 1600))
    return np.concatenate([np.zeros(by), wave[:-by]]) if generator.random() < 0.5 else wave[by:]


def _coded(format: str, subtype: str | None) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    def change(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        file = io.BytesIO()
        soundfile.write(file, wave, RATE_HZ, format=format, subtype=subtype)
        file.seek(0)
        return np.asarray(soundfile.read(file)[0])[: len(wave)]

    return change


def _telephone(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resample to 8 kHz and back."""
    return np.asarray(soxr.resample(soxr.resample(wave, RATE_HZ, 8_000), 8_000, RATE_HZ))


def _telephone_coded(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Resample to 8 kHz, store with 8 bits (mu-law), and resample back."""
    low, file = soxr.resample(wave, RATE_HZ, 8_000), io.BytesIO()
    soundfile.write(file, low, 8_000, format="WAV", subtype="ULAW")
    file.seek(0)
    return np.asarray(soxr.resample(soundfile.read(file)[0], 8_000, RATE_HZ))


def _overdriven(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return wave / np.abs(wave).max() * generator.uniform(1.5, 4)


def _overdriven_then_quieter(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.clip(_overdriven(wave, generator), -1, 1) * generator.uniform(0.2, 0.8)


def _zeros(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return np.zeros(RATE_HZ)


def _faint_noise(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal(RATE_HZ) * 10 ** (generator.uniform(-85, -55) / 20)


def _steady_noise(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return generator.standard_normal(RATE_HZ) * 10 ** (generator.uniform(-50, -30) / 20)


def _late_start(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return wave[_middle_of_word(wave) :]


def _early_end(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return wave[: _middle_of_word(wave)]


def _middle_of_word(wave: np.ndarray) -> int:
    """Return the middle of the frames that are at most 10 dB below the loudest one."""
    levels = _frames_db(wave)
    loud = np.flatnonzero(levels >= levels.max() - 10)
    return int(loud[len(loud) // 2]) * FRAME


def _frames_db(wave: np.ndarray) -> np.ndarray:
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(10 * np.log10(np.maximum(np.square(frames).mean(1), 1e-12)))


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
COPIES: Mapping[str, Change] = {
    "gain": _gain,
    "shift": _shift,
    "mp3": _coded("MP3", None),
    "vorbis": _coded("OGG", "VORBIS"),
    "8 kHz": _telephone,
}
"""Forms of near duplicates."""
CHANGES: Mapping[str, Mapping[str, Change]] = {
    "clipping": {"full scale": _overdriven, "then quieter": _overdriven_then_quieter},
    "silence": {"zeros": _zeros, "faint noise": _faint_noise, "steady noise": _steady_noise},
    "cut": {"start": _late_start, "end": _early_end},
    "low-rate": {"8 kHz": _telephone, "8 kHz, mu-law": _telephone_coded},
}
"""Forms of the faults of sound, by kind."""
