"""Spectrograms of overlapping windows of sound, each that of `extractor.FeatureExtractor` for the same samples, to the bit.

Most frames of a window are frames of the sound, which neighbouring windows share: they are computed once. Only the frames at
both ends of a window see its zero padding, and are computed for each window. `top_db` refers to the maximum of each window.
Knows nothing of files.
"""

from __future__ import annotations

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.features.extractor import FeatureExtractor, check_peak, shared_frames


class SlidingExtractor:
    """Computes the spectrograms of overlapping windows. It has buffers: use one per thread.

    Parameters
    ----------
    features : settings of one window; kind is stft or logmel
    hop : samples from window to window. If it is a multiple of features.hop_length, windows share their frames

    Raises
    ------
    ConfigError: kind is waveform, or hop is not 1 to the number of samples of a window.
    """

    def __init__(self, features: FeatureConfig, hop: int) -> None:
        if features.kind == "waveform":
            raise ConfigError("features are 'waveform'; a network takes spectrograms: choose stft or logmel")
        if not 1 <= hop <= features.num_samples:
            raise ConfigError(f"hop is {hop} samples; expected 1 to {features.num_samples}, the length of a window")
        self.features, self.hop = features, hop
        self._extractor = FeatureExtractor(features)
        self._shared = shared_frames(self._extractor) if hop % features.hop_length == 0 else None

    def num_windows(self, num_samples: int) -> int:
        """Return the number of whole windows in so many samples."""
        return max(0, 1 + (num_samples - self.features.num_samples) // self.hop)

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        """Compute the spectrograms of all whole windows.

        Parameters
        ----------
        sound : float32 [shape=(num_samples,)], full scale = 1.0, mono, at features.sample_rate_hz

        Returns
        -------
        float32 [shape=(num_windows, num_bins, num_frames)], dB; window k begins at sample k * hop

        Raises
        ------
        AudioError: as `FeatureExtractor`.
        """
        count, length = self.num_windows(sound.size), self.features.num_samples
        windows = [sound[self.hop * k : self.hop * k + length] for k in range(count)]
        spectrograms = np.empty((count, *self.features.shape), np.float32)
        if self._shared is not None and count > 1:
            check_peak(sound)
            self._shared(sound, self.hop, spectrograms)
        else:
            for window, out in zip(windows, spectrograms, strict=True):
                self._extractor(window, out=out)
        return spectrograms
