"""SpecAugment and mixup: whole bands are masked, and the weight of a clip is at least one half."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hybridspeech.config import NO_AUGMENTATION, AugmentConfig
from hybridspeech.features.spec_augment import augment_spectrogram, mask_spectrogram, mixup_weights


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


def warped(spectrogram: np.ndarray, **settings: float) -> list[np.ndarray]:
    config = replace(NO_AUGMENTATION, **settings)  # type: ignore[arg-type]
    copies = [spectrogram.copy() for _ in range(40)]
    for i, copy in enumerate(copies):
        augment_spectrogram(copy, config, seed=0, clip_id=f"{i}", copy=1)
    return copies


def test_a_warp_moves_a_line_by_up_to_its_share_of_the_frequency() -> None:
    spectrogram = np.full((200, 10), -80, np.float32)
    spectrogram[100] = 0
    lines = [int(copy[:, 0].argmax()) for copy in warped(spectrogram, frequency_warp_percent=20)]
    assert 80 <= min(lines) <= 85
    assert 115 <= max(lines) <= 120


def test_a_shift_moves_whole_frames_and_fills_with_the_minimum() -> None:
    spectrogram = np.random.default_rng(0).standard_normal((8, 50)).astype(np.float32)
    shifts = set()
    for copy in warped(spectrogram, shift_frames=4):
        filled = int((copy == spectrogram.min()).all(axis=0).sum())
        left = bool((copy[:, 0] == spectrogram.min()).all())
        shifts.add(filled if left else -filled)
        moved, kept = (copy[:, filled:], spectrogram[:, : 50 - filled]) if left else (copy, spectrogram[:, filled:])
        np.testing.assert_array_equal(moved[:, : 50 - filled], kept)
    assert shifts == set(range(-4, 5))


def test_a_large_shift_leaves_silence() -> None:
    spectrogram = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert any((copy == 0).all() for copy in warped(spectrogram, shift_frames=20))
