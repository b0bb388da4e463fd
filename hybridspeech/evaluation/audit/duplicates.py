"""Finds clips with the same sound: exactly, or with another level, time shift or encoding.

Candidates are clips whose descriptors fall into one bucket of a random-hyperplane hash (Charikar, 2002); the number of
comparisons grows with the number of clips, not with its square. Candidates are compared by the normalised
cross-correlation of their sketches, at any time shift. Knows nothing of labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hybridspeech.evaluation.audit.measurements import SKETCH_HZ, Measurements
from hybridspeech.evaluation.audit.thresholds import (
    BUCKET_NEIGHBOURS,
    FINER,
    HASH_BITS,
    HASH_TABLES,
    MAX_SHIFT_S,
    MIN_CORRELATION,
    MIN_COSINE,
    MIN_OVERLAP,
)

_COMPARED_AT_ONCE = 256
_HASH_SEED = 0


def find_duplicates(measured: Measurements) -> list[tuple[int, int, float]]:
    """Return (first, second, similarity) of pairs of clips with the same sound; similarity 1 means the same samples.

    Of a group of exact duplicates, each later clip is paired with the first one, and only the first one is compared with
    clips of other content.
    """
    _, firsts, group = np.unique(measured.content, return_index=True, return_inverse=True)
    first_of = firsts[group]
    places = np.arange(len(measured))
    exact = [(int(first_of[place]), int(place), 1.0) for place in places[first_of != places]]
    unique = np.sort(firsts)
    candidates = unique[_candidates(_standardized(measured.descriptor[unique]))]
    return [*exact, *_compared(measured.sketch, candidates)]


def _standardized(descriptors: np.ndarray) -> np.ndarray:
    """Return the descriptors with mean 0 and variance 1 in each band, and length 1."""
    centred = descriptors - descriptors.mean(0)
    centred /= np.maximum(centred.std(0), 1e-6)
    unit: np.ndarray = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return unit


def _candidates(descriptors: np.ndarray) -> np.ndarray:
    """Return pairs of places, int [shape=(num_pairs, 2)], the smaller one first, each once."""
    codes, count = _hash(descriptors), len(descriptors)
    pairs = [np.zeros(0, np.int64)]
    for table in codes.T:
        order = np.argsort(table, kind="stable")
        ordered = table[order]
        for step in range(1, BUCKET_NEIGHBOURS + 1):
            same = np.flatnonzero(ordered[step:] == ordered[:-step])
            one, other = order[same], order[same + step]
            pairs.append(np.minimum(one, other) * count + np.maximum(one, other))
    found = np.unique(np.concatenate(pairs))
    ones, others = found // count, found % count
    is_like = np.einsum("ij,ij->i", descriptors[ones], descriptors[others]) >= MIN_COSINE
    return np.stack([ones[is_like], others[is_like]], axis=1)


def _hash(descriptors: np.ndarray) -> np.ndarray:
    """Return the code of each clip in each of HASH_TABLES tables, int64 [shape=(num_clips, HASH_TABLES)]."""
    num_bits = int(np.clip(math.ceil(math.log2(len(descriptors) + 1)) + 4, *HASH_BITS))
    planes = np.random.default_rng(_HASH_SEED).standard_normal((descriptors.shape[1], HASH_TABLES * num_bits))
    bits = (descriptors @ planes > 0).reshape(-1, HASH_TABLES, num_bits)
    codes: np.ndarray = (bits * (1 << np.arange(num_bits))).sum(-1)
    return codes


def _compared(sketches: np.ndarray, pairs: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs whose normalised cross-correlation, at the best time shift, reaches MIN_CORRELATION."""
    for first in range(0, len(pairs), _COMPARED_AT_ONCE):
        some = pairs[first : first + _COMPARED_AT_ONCE]
        found = correlations(sketches[some[:, 0]], sketches[some[:, 1]])
        for (one, other), similarity in zip(some.tolist(), found.tolist(), strict=True):
            if similarity >= MIN_CORRELATION:
                yield one, other, min(similarity, 0.9999)


def correlations(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the largest magnitude of the normalised cross-correlation of each pair over time shifts, 0 to 1.

    Each correlation is divided by the energies of the parts that overlap: a shift loses samples at one end.

    Parameters
    ----------
    ones, others : [shape=(num_pairs, num_samples)], at SKETCH_HZ
    """
    ones, others = ones.astype(np.float32), others.astype(np.float32)
    num_samples = ones.shape[1]
    size, most = 2 * num_samples, min(round(MAX_SHIFT_S * SKETCH_HZ), num_samples - 1)
    spectrum = np.fft.rfft(ones, size, axis=1) * np.fft.rfft(others, size, axis=1).conj()
    crossed = np.abs(np.fft.irfft(spectrum, FINER * size, axis=1)) * FINER
    shifts = np.arange(-most, most + 1)
    steps = FINER * shifts[:, np.newaxis] + np.arange(FINER) - FINER // 2  # between the samples of the sketch too
    crossed = crossed[:, steps].max(-1)
    energies = [
        np.pad(np.cumsum(np.square(waves, dtype=np.float64), axis=1), ((0, 0), (1, 0))) for waves in (ones, others)
    ]
    late, early = np.maximum(shifts, 0), np.maximum(-shifts, 0)  # the first waves begin later by a positive shift
    overlaps = [
        energy[:, num_samples - left] - energy[:, right]
        for energy, left, right in zip(energies, (early, late), (late, early), strict=True)
    ]
    is_enough = np.minimum(
        *(overlap / np.maximum(energy[:, -1:], 1) for overlap, energy in zip(overlaps, energies, strict=True))
    )
    similarity = crossed / np.sqrt(np.maximum(overlaps[0] * overlaps[1], 1))
    best: np.ndarray = np.where(is_enough >= MIN_OVERLAP, similarity, 0).max(1)
    return best
