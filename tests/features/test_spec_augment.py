"""SpecAugment and mixup: whole bands are masked, and the weight of a clip is at least one half."""

from __future__ import annotations

import numpy as np

from hybridspeech.config import AugmentConfig
from hybridspeech.features.spec_augment import mask_spectrogram, mixup_weights


def test_masks_replace_whole_bands_of_frames_and_bins_up_to_a_fraction() -> None:
    spectrogram = np.random.default_rng(0).standard_normal((64, 100)).astype(np.float32)
    widths = []
    for i in range(100):
        masked = spectrogram.copy()
        mask_spectrogram(
            masked, AugmentConfig(time_masks=1, frequency_masks=0, mask_fraction=0.2), seed=0, clip_id=f"{i}", copy=1
        )
        changed = (masked != spectrogram).any(axis=0)
        widths.append(int(changed.sum()))
        np.testing.assert_allclose(masked[:, changed], spectrogram.mean(), rtol=1e-5)
        assert changed.sum() == (masked != spectrogram).all(axis=0).sum()
    assert 17 <= max(widths) <= 20
    assert min(widths) <= 2
    masked = spectrogram.copy()
    mask_spectrogram(
        masked, AugmentConfig(time_masks=0, frequency_masks=2, mask_fraction=0.2), seed=0, clip_id="a", copy=1
    )
    assert 0 < (masked != spectrogram).all(axis=1).sum() <= 24


def test_a_clip_has_the_larger_weight_in_its_mixture() -> None:
    weights = mixup_weights([f"{i}" for i in range(100)], AugmentConfig(mixup_alpha=0.4), seed=0, copy=1)
    assert weights.dtype == np.float32
    assert weights.min() >= 0.5
    assert weights.max() <= 1
    assert len(set(weights.tolist())) == 100
