"""What the audit measures of each clip: levels, flat tops, bandwidth, and fingerprints to find duplicates by.

Knows nothing of thresholds and labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import xxhash

FRAME_S = 0.02
FLAT_RUN = 3
"""Consecutive samples at the peak that count as a flat top: a sampled sine has at most two."""
FLAT_SHARE = 0.995
"""Share of the peak from which on a sample is at the peak: resampling and coding after the clipping bend the top."""
TELEPHONE_HZ = 4_000
"""Highest frequency of a recording at 8 kHz."""
BELOW_HZ, ABOVE_HZ = (3_000, 3_800), (4_300, 5_100)
"""Bands on both sides of it, outside the transition of a resampling filter."""
PRINT_HZ, PRINT_BANDS = (100, 3_500), 68
"""Range of the descriptor: bands of 50 Hz, below the frequencies that a lossy codec or 8 kHz remove."""
SKETCH_HZ = 4_000
"""Sample rate of the sketch."""
SKETCH_PEAK = 127
SILENCE_DB = -120.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """Measurements of some clips; the first axis of each array is that of the clips.

    Parameters
    ----------
    loudest_db, floor_db : level of the loudest frame of 20 ms, and of the quietest tenth of the frames, in dBFS
    start_db, end_db : level of the first and of the last 20 ms without zero padding, in dBFS
    flat : number of samples in flat tops
    drop_db : how far the power falls from just below 4 kHz to just above, in dB; 0 at less than 16 kHz
    high_db : power of the band above 4 kHz relative to the band below, in dB; 0 at less than 16 kHz
    over_rounding_db : power of the band above 4 kHz relative to that of rounding to 16 bits, in dB; 0 at less than 16 kHz
    content : uint64, hash of the samples without the zeros at both ends
    descriptor : float32 [shape=(num_clips, 68)], level of the whole clip in bands of 50 Hz, in dB; time shifts do not change it
    sketch : int8 [shape=(num_clips, num_samples)], the sound below 2 kHz, at 4 kHz, scaled to its peak
    """

    loudest_db: np.ndarray
    floor_db: np.ndarray
    start_db: np.ndarray
    end_db: np.ndarray
    flat: np.ndarray
    drop_db: np.ndarray
    high_db: np.ndarray
    over_rounding_db: np.ndarray
    content: np.ndarray
    descriptor: np.ndarray
    sketch: np.ndarray

    def __len__(self) -> int:
        return len(self.content)

    @classmethod
    def concat(cls, parts: Sequence[Measurements]) -> Measurements:
        """Return the clips of all parts, in order."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def measure(samples: np.ndarray, rate_hz: int) -> Measurements:
    """Measure a batch of clips.

    Parameters
    ----------
    samples : int16 [shape=(num_clips, num_samples)], mono, zero-padded at the end
    """
    waves = samples.astype(np.float32) / 32_768
    frame = max(1, round(FRAME_S * rate_hz))
    whole = waves[:, : waves.shape[1] // frame * frame].reshape(len(waves), -1, frame)
    frames_db = decibels(np.square(whole).mean(-1))
    spans = [_span(row) for row in samples]
    floors = [
        np.percentile(row[first // frame : max(first // frame + 1, last // frame)], 10)
        for row, (first, last) in zip(frames_db, spans, strict=True)
    ]
    spectrum = np.fft.rfft(waves, axis=1)
    power = np.square(np.abs(spectrum)).astype(np.float32)
    edges = [_edges_db(wave, span, frame) for wave, span in zip(waves, spans, strict=True)]
    return Measurements(
        loudest_db=frames_db.max(1),
        floor_db=np.array(floors, np.float32),
        start_db=np.array([start for start, _ in edges], np.float32),
        end_db=np.array([end for _, end in edges], np.float32),
        flat=np.array([_flat(row) for row in samples], np.int32),
        content=np.array(
            [
                xxhash.xxh3_64_intdigest(row[first:last].tobytes())
                for row, (first, last) in zip(samples, spans, strict=True)
            ],
            np.uint64,
        ),
        descriptor=_descriptor(power, rate_hz),
        sketch=_sketch(spectrum, rate_hz),
        **_bandwidth(power, rate_hz),
    )


def decibels(power: np.ndarray) -> np.ndarray:
    """Return powers in dB, at least -120 dB; float32."""
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SILENCE_DB / 10))), np.float32)


def _span(row: np.ndarray) -> tuple[int, int]:
    """Return the first sample that is not zero, and the one behind the last."""
    places = np.flatnonzero(row)
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)


def _edges_db(wave: np.ndarray, span: tuple[int, int], frame: int) -> tuple[float, float]:
    first, last = span
    if last <= first:
        return SILENCE_DB, SILENCE_DB
    both = np.array(
        [np.square(wave[first : first + frame]).mean(), np.square(wave[max(0, last - frame) : last]).mean()]
    )
    start, end = decibels(both).tolist()
    return start, end


def _flat(row: np.ndarray) -> int:
    """Count the samples in runs of FLAT_RUN or more that stay at the peak, on one side."""
    values = row.astype(np.int32)
    at_peak = np.sign(values) * (np.abs(values) >= FLAT_SHARE * np.abs(values).max(initial=1))
    changes = np.flatnonzero(np.diff(at_peak)) + 1
    bounds = np.concatenate([[0], changes, [len(at_peak)]])
    lengths = np.diff(bounds)
    is_flat = (at_peak[bounds[:-1]] != 0) & (lengths >= FLAT_RUN)
    return int(lengths[is_flat].sum())


def _bandwidth(power: np.ndarray, rate_hz: int) -> dict[str, np.ndarray]:
    if rate_hz < 4 * TELEPHONE_HZ:
        nothing = np.zeros(len(power), np.float32)
        return {"drop_db": nothing, "high_db": nothing, "over_rounding_db": nothing}
    top_hz = 0.95 * rate_hz / 2
    num_samples = 2 * (power.shape[1] - 1)
    rounding_db = float(decibels(np.array(num_samples / 12 / 32_768**2)))
    return {
        "drop_db": _band(power, rate_hz, *BELOW_HZ) - _band(power, rate_hz, *ABOVE_HZ),
        "high_db": _band(power, rate_hz, ABOVE_HZ[0], top_hz) - _band(power, rate_hz, 300, BELOW_HZ[1]),
        "over_rounding_db": _band(power, rate_hz, ABOVE_HZ[0], top_hz) - rounding_db,
    }


def _band(power: np.ndarray, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Return the mean power of a band of each clip, in dB."""
    per_hz = (power.shape[1] - 1) / (rate_hz / 2)
    return decibels(power[:, int(low_hz * per_hz) : int(high_hz * per_hz)].mean(1))


def _descriptor(power: np.ndarray, rate_hz: int) -> np.ndarray:
    edges_hz = np.linspace(*PRINT_HZ, PRINT_BANDS + 1)
    per_hz = (power.shape[1] - 1) / (rate_hz / 2)
    bounds = np.minimum((edges_hz * per_hz).astype(int), power.shape[1] - 1)
    sums = np.add.reduceat(power, bounds, axis=1)[:, :-1] / np.maximum(np.diff(bounds), 1)
    levels = decibels(sums)
    return np.asarray(levels - levels.mean(1, keepdims=True), np.float32)


def _sketch(spectrum: np.ndarray, rate_hz: int) -> np.ndarray:
    num_samples = 2 * (spectrum.shape[1] - 1)
    size = num_samples * SKETCH_HZ // rate_hz
    low = spectrum[:, : size // 2 + 1].copy()
    low[:, : int(60 * num_samples / rate_hz)] = 0  # hum and offset
    waves = np.fft.irfft(low, size, axis=1)
    peaks = np.maximum(np.abs(waves).max(1, keepdims=True), 1e-9)
    sketch: np.ndarray = np.round(waves * (SKETCH_PEAK / peaks)).astype(np.int8)
    return sketch
