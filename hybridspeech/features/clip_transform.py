"""Converts stored clips to network inputs, batch by batch: augmentation, features and masks.

It uses numpy and the kernels of preprocessing, so that a clip has the same spectrogram whether Spark computes it in
advance or a training worker computes it now. The kernels release the GIL, so that several threads of tf.data run in
parallel. Knows nothing of files and TensorFlow.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hybridspeech.audio.augmentation import Augmenter
from hybridspeech.audio.pcm import from_pcm16
from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.features.extractor import FeatureExtractor
from hybridspeech.features.spec_augment import augment_spectrogram, changes_spectrograms, mixup_weights


def view_of(stored: FeatureConfig, features: FeatureConfig | None = None, *, causal: bool = False) -> FeatureConfig:
    """Return the features that a network takes: the stored ones, or what is computed from stored waveforms.

    Parameters
    ----------
    features : None: log-mel, for waveforms. Sample rate and clip duration are always those of the stored clips
    causal : causal features, whatever `features` says on this: of stored waveforms, or as they are stored

    Raises
    ------
    ConfigError: spectrograms are stored and other features are requested; or waveforms are requested.
    """
    if stored.kind == "waveform":
        features = features or FeatureConfig(kind="logmel")
        if features.kind == "waveform":
            raise ConfigError("features are 'waveform'; a network takes spectrograms: choose stft or logmel")
        features = replace(features, sample_rate_hz=stored.sample_rate_hz, clip_duration_ms=stored.clip_duration_ms)
        return replace(features, top_db=None, causal=True) if causal else features
    if causal and not stored.causal:
        raise ConfigError(
            f"a causal network needs causal features, and the data are {stored.kind} spectrograms of whole clips; preprocess "
            "with --features waveform and train on these shards"
        )
    if features in (None, stored, FeatureConfig(kind=stored.kind)):
        return stored
    raise ConfigError(
        f"features are {features}; the shards hold {stored}: choose these, or preprocess again with --features waveform"
    )


class ClipTransform:
    """Converts stored clips to network inputs.

    Parameters
    ----------
    stored, features : features in the shards, and of the network input; they differ if the shards hold waveforms
    augmenter : None: no augmentation
    """

    def __init__(self, stored: FeatureConfig, features: FeatureConfig, augmenter: Augmenter | None = None) -> None:
        self.stored, self.features, self.augmenter = stored, features, augmenter
        self._is_sound = stored.kind == "waveform"
        self._local = threading.local()

    @property
    def is_identity(self) -> bool:
        """Whether clips are returned unchanged."""
        return not self._is_sound and (self.augmenter is None or not changes_spectrograms(self.augmenter.config))

    @property
    def has_mixup(self) -> bool:
        """Whether augmented clips are mixed with others of their batch."""
        return self.augmenter is not None and self.augmenter.config.mixup_alpha > 0

    def mixup_weights(self, clip_ids: Sequence[str], copy: int) -> np.ndarray:
        """Return the weight of each clip in its mixture; float32 [shape=(batch,)], from 0.5 to 1."""
        assert self.augmenter is not None
        return mixup_weights(clip_ids, self.augmenter.config, seed=self.augmenter.seed, copy=copy)

    def __call__(self, values: np.ndarray, clip_ids: Sequence[str], copy: int) -> np.ndarray:
        """Compute spectrograms in dB.

        Parameters
        ----------
        values : int16 [shape=(batch, num_samples)] of waveform shards, else float32 [shape=(batch, num_bins, num_frames)]
        copy : number of the augmented version; 0 is the recorded clip

        Returns
        -------
        float32 [shape=(batch, num_bins, num_frames)]

        Raises
        ------
        AudioError: a clip has no finite spectrogram.
        """
        spectrograms = np.empty((len(values), *self.features.shape), np.float32)
        extractor = self._extractor() if self._is_sound else None
        augmenter = self.augmenter if copy else None
        waves = [from_pcm16(clip) for clip in values] if extractor else []
        for number, (clip, clip_id, out) in enumerate(zip(values, clip_ids, spectrograms, strict=True)):
            if extractor is None:
                out[...] = clip
            elif augmenter:
                voices = waves[:number] + waves[number + 1 :] if augmenter.config.snr_frequency else ()
                extractor(augmenter.sound(waves[number], clip_id, copy, voices), out=out)
            else:
                extractor(waves[number], out=out)
            if augmenter and changes_spectrograms(augmenter.config):
                augment_spectrogram(out, augmenter.config, seed=augmenter.seed, clip_id=clip_id, copy=copy)
        return spectrograms

    def _extractor(self) -> FeatureExtractor:
        """One extractor per thread, because it has buffers."""
        extractor: FeatureExtractor | None = getattr(self._local, "extractor", None)
        if extractor is None:
            extractor = self._local.extractor = FeatureExtractor(self.features)
        return extractor
