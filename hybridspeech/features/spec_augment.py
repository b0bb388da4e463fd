"""Augmentation of spectrograms (VTLP, SpecAugment, mixup): a function of seed, copy and clip id alone.

Sources: Jaitly and Hinton, Vocal Tract Length Perturbation, ICML 2013; Park et al., SpecAugment, arXiv:1904.08779; Zhang et
al., mixup, arXiv:1710.09412. Knows nothing of sound and TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hybridspeech.audio.augmentation import clip_generator
from hybridspeech.config import AugmentConfig


def changes_spectrograms(config: AugmentConfig) -> bool:
    """Tell whether `augment_spectrogram` changes anything."""
    return config.time_masks > 0 or config.frequency_masks > 0 or _warps(config)


def augment_spectrogram(spectrogram: np.ndarray, config: AugmentConfig, *, seed: int, clip_id: str, copy: int) -> None:
    """Warp, shift and mask a spectrogram, in place.

    Parameters
    ----------
    spectrogram : float32 [shape=(num_bins, num_frames)], dB
    """
    if _warps(config):
        warp_spectrogram(spectrogram, config, seed=seed, clip_id=clip_id, copy=copy)
    mask_spectrogram(spectrogram, config, seed=seed, clip_id=clip_id, copy=copy)


def _warps(config: AugmentConfig) -> bool:
    # None in plans of runs of versions without these fields
    return bool(config.frequency_warp_percent or config.shift_frames)


def warp_spectrogram(spectrogram: np.ndarray, config: AugmentConfig, *, seed: int, clip_id: str, copy: int) -> None:
    """Stretch or compress the frequency axis, and shift the frames, in place.

    The frequency 0 stays. Frames from outside the clip have the minimum of the spectrogram.

    Parameters
    ----------
    spectrogram : float32 [shape=(num_bins, num_frames)], dB
    """
    generator, silence = clip_generator(f"{seed}\0warp\0{copy}", clip_id), spectrogram.min()
    stretch, shift = generator.uniform(-1, 1, 2)
    last = len(spectrogram) - 1
    places = np.minimum(np.arange(last + 1) / (1 + stretch * config.frequency_warp_percent / 100), last)
    below = places.astype(np.int64)
    share = (places - below).astype(np.float32)[:, np.newaxis]
    warped = spectrogram[below] * (1 - share) + spectrogram[np.minimum(below + 1, last)] * share
    frames = round(float(shift) * config.shift_frames)
    spectrogram[...] = silence
    if abs(frames) < spectrogram.shape[1]:
        kept = spectrogram.shape[1] - abs(frames)
        spectrogram[:, max(0, frames) : max(0, frames) + kept] = warped[:, max(0, -frames) : max(0, -frames) + kept]


def mask_spectrogram(spectrogram: np.ndarray, config: AugmentConfig, *, seed: int, clip_id: str, copy: int) -> None:
    """Replace random bands of frames and of bins by the mean of the spectrogram, in place.

    Parameters
    ----------
    spectrogram : float32 [shape=(num_bins, num_frames)], dB
    """
    generator, fill = clip_generator(f"{seed}\0mask\0{copy}", clip_id), spectrogram.mean()
    for axis, count in ((1, config.time_masks), (0, config.frequency_masks)):
        size = spectrogram.shape[axis]
        for width, start in generator.uniform(0, 1, (count, 2)):
            length = int(width * (config.mask_fraction * size + 1))
            first = int(start * (size - length + 1))
            band = slice(first, first + length)
            spectrogram[(slice(None), band) if axis else (band, slice(None))] = fill


def mixup_weights(clip_ids: Sequence[str], config: AugmentConfig, *, seed: int, copy: int) -> np.ndarray:
    """Return the weight of each clip when it is mixed with another one (mixup).

    Returns
    -------
    float32 [shape=(len(clip_ids),)], from 0.5 to 1
    """
    alpha = config.mixup_alpha
    drawn = (clip_generator(f"{seed}\0mixup\0{copy}", clip_id).beta(alpha, alpha) for clip_id in clip_ids)
    return np.array([max(weight, 1 - weight) for weight in map(float, drawn)], np.float32)
