"""From what shards hold to what a network takes: variation, features and masks, batch by batch.

A numpy function on purpose: the very kernels of preprocessing run in a training worker, so that a clip has the same
spectrogram whether Spark computed it before or the worker does now. The kernels leave Python's lock alone, so that
several threads of tf.data run at once. Knows nothing of files and TensorFlow.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.features.extractor import FeatureExtractor

PCM16_SCALE = np.float32(1 / 32_768)


def view_of(stored: FeatureConfig, features: FeatureConfig | None = None) -> FeatureConfig:
    """Return the features that a network takes: the stored ones, or what is computed from stored waveforms.

    Parameters
    ----------
    features : None: log-mel, for waveforms. Sample rate and clip duration are always those of the stored clips

    Raises
    ------
    ConfigError: spectrograms are stored and other features are asked for; or waveforms are asked for.
    """
    if stored.kind == "waveform":
        features = features or FeatureConfig(kind="logmel")
        if features.kind == "waveform":
            raise ConfigError("features are 'waveform'; a network takes spectrograms: choose stft or logmel")
        return replace(features, sample_rate_hz=stored.sample_rate_hz, clip_duration_ms=stored.clip_duration_ms)
    if features in (None, stored, FeatureConfig(kind=stored.kind)):
        return stored
    raise ConfigError(
        f"features are {features}; the shards hold {stored}: choose these, or preprocess again with --features waveform"
    )


class ClipTransform:
    """Network inputs of stored clips.

    Parameters
    ----------
    stored, features : what the shards hold, and what the network takes; they differ where the shards hold waveforms
    augmenter : None: clips stay as they were recorded
    """

    def __init__(self, stored: FeatureConfig, features: FeatureConfig, augmenter: Augmenter | None = None) -> None:
        self.stored, self.features, self.augmenter = stored, features, augmenter
        self._is_sound = stored.kind == "waveform"
        self._local = threading.local()

    @property
    def is_identity(self) -> bool:
        """Whether clips come out as they went in."""
        return not self._is_sound and (self.augmenter is None or not self._has_masks(self.augmenter))

    @property
    def is_mixing(self) -> bool:
        """Whether varied clips are mixed with others of their batch."""
        return self.augmenter is not None and self.augmenter.config.mixup_alpha > 0

    def mixing_shares(self, clip_ids: Sequence[str], copy: int) -> np.ndarray:
        """How much of each clip stays in the mixture; float32 [shape=(batch,)]."""
        assert self.augmenter is not None
        return np.array([self.augmenter.mixing_share(clip_id, copy) for clip_id in clip_ids], np.float32)

    def __call__(self, values: np.ndarray, clip_ids: Sequence[str], copy: int) -> np.ndarray:
        """Spectrograms in dB.

        Parameters
        ----------
        values : int16 [shape=(batch, num_samples)] of waveform shards, else float32 [shape=(batch, num_bins, num_frames)]
        copy : which version of each clip; 0 is the clip itself

        Returns
        -------
        float32 [shape=(batch, num_bins, num_frames)]

        Raises
        ------
        AudioError: a clip has no finite spectrogram.
        """
        made = np.empty((len(values), *self.features.shape), np.float32)
        extractor = self._extractor() if self._is_sound else None
        for clip, clip_id, out in zip(values, clip_ids, made, strict=True):
            if extractor is None:
                out[...] = clip
            else:
                wave = clip * PCM16_SCALE
                extractor(self.augmenter.sound(wave, clip_id, copy) if self.augmenter and copy else wave, out=out)
            if self.augmenter and copy and self._has_masks(self.augmenter):
                self.augmenter.mask(out, clip_id, copy)
        return made

    def _extractor(self) -> FeatureExtractor:
        """This thread's own: an extractor has buffers."""
        extractor: FeatureExtractor | None = getattr(self._local, "extractor", None)
        if extractor is None:
            extractor = self._local.extractor = FeatureExtractor(self.features)
        return extractor

    @staticmethod
    def _has_masks(augmenter: Augmenter) -> bool:
        return augmenter.config.time_masks > 0 or augmenter.config.frequency_masks > 0
