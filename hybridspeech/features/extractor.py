"""Waveform to spectrogram, by one of two kernels that agree.

The reference kernel calls librosa. The fast kernel (`kernels`) works on buffers that are made once, with an FFT of its own
for n_fft a power of two from 128 to 16,384, and scipy's for any other even length. Its FFT is in float64: in float32,
whoever computes it, a bin 80 dB below the loudest is up to 7e-3 dB off, in four of ten real clips. Powers and decibels
are float32; the result is within 1e-4 dB of librosa's.

One clip at a time, so that it stays in the cache; one thread. Knows nothing of files and shards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.features.reference import MIN_POWER, ReferenceKernel
from hybridspeech.features.window import hann

_MAX_PEAK = 1e12  # the square of the sum of 65,536 such samples is still a float32


class FeatureExtractor:
    """Spectrograms of clips by one config, with buffers of its own: one extractor per thread.

    Making one compiles what has to be compiled, or loads it from numba's cache.

    Raises
    ------
    ConfigError: n_fft is odd.
    """

    def __init__(self, config: FeatureConfig) -> None:
        if config.n_fft % 2:
            raise ConfigError(f"n_fft is {config.n_fft}; expected an even number, e.g. {config.n_fft + 1}")
        self.config = config
        self._transform = _transform_of(config)
        self(np.zeros(config.num_samples, np.float32))

    def __call__(self, wave: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Spectrogram of one clip, in dB re 1.0; for kind "waveform" the clip itself, checked.

        Parameters
        ----------
        wave : float [shape=(config.num_samples,)], full scale = 1.0, mono, at config.sample_rate_hz
        out : where to write, e.g. `ShardWriter.payload`; float32, C order [shape=config.shape]

        Returns
        -------
        float32 [shape=(num_bins, num_frames)], C order; `out` if it was given. Not below -100 dB, nor below `top_db`
        under the loudest value.

        Raises
        ------
        AudioError: wave is empty, not finite, or so loud (1e12) that its power is not.
        ConfigError: wave or out is of another shape or type.
        """
        wave = _checked(wave, self.config)
        if out is None:
            out = np.empty(self.config.shape, np.float32)
        elif out.shape != self.config.shape or out.dtype != np.float32 or not out.flags.carray:
            given = f"{out.dtype} {out.shape}"
            raise ConfigError(f"out is {given}; expected writable float32 {self.config.shape} in C order")
        peak = max(float(wave.max()), -float(wave.min()))
        if not peak <= _MAX_PEAK:  # also of NaN, which max() and min() hand on
            raise AudioError("not-finite", f"the largest sample is {peak}; expected full scale 1.0")
        self._transform(wave, out)
        return out


def _transform_of(config: FeatureConfig) -> Callable[[np.ndarray, np.ndarray], None]:
    if config.kind == "waveform":
        return lambda wave, out: np.copyto(out[0], wave)
    return _FastKernel(config) if config.kernel == "fast" else ReferenceKernel(config)


_CACHE = threading.local()


def spectrogram(wave: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """As `FeatureExtractor(config)(wave)`; each thread keeps the extractor of the config that it used last."""
    extractor: FeatureExtractor | None = getattr(_CACHE, "extractor", None)
    if extractor is None or extractor.config != config:
        extractor = _CACHE.extractor = FeatureExtractor(config)
    return extractor(wave)


def _checked(wave: Any, config: FeatureConfig) -> np.ndarray:
    if not isinstance(wave, np.ndarray) or wave.dtype.kind != "f":
        given = getattr(wave, "dtype", type(wave).__name__)
        raise ConfigError(f"wave is {given}; expected an array of float32 with full scale 1.0 (divide int16 by 32768)")
    if wave.ndim != 1:
        raise ConfigError(f"wave has shape {wave.shape}; expected one dimension: mono samples")
    if wave.size == 0:
        raise AudioError("empty", f"0 samples; expected {config.num_samples}")
    if wave.size != config.num_samples:
        raise ConfigError(f"wave has {wave.size} samples; expected {config.num_samples}; pad it with zeros or cut it")
    with np.errstate(over="ignore"):
        samples: np.ndarray = np.ascontiguousarray(wave, np.float32)
    return samples


def mel_filters(config: FeatureConfig) -> np.ndarray:
    """Triangular mel bands of equal area (Slaney's scale and norm): librosa.filters.mel, without librosa.

    Returns
    -------
    float32 [shape=(n_mels, 1 + n_fft // 2)]
    """
    bins_hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate_hz)
    low, high = _hz_to_mel(config.fmin_hz), _hz_to_mel(config.fmax_hz)
    edges_hz = _mel_to_hz(np.linspace(low, high, config.n_mels + 2))
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    weights: np.ndarray = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return weights.astype(np.float32)


# Slaney's Auditory Toolbox (1998): linear below 1 kHz, 15 mel; above, 27 mel for a factor of 6.4.
_HZ_PER_MEL, _KNEE_HZ, _KNEE_MEL, _LOG_STEP = 200 / 3, 1000.0, 15.0, np.log(6.4) / 27


def _hz_to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _KNEE_HZ else _KNEE_MEL + float(np.log(hz / _KNEE_HZ)) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    curved = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    hz: np.ndarray = np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, curved)
    return hz


class _FastKernel:
    def __init__(self, config: FeatureConfig) -> None:
        from hybridspeech.features import kernels

        self._kernels = kernels
        self._config = config
        self._padded = np.zeros(config.num_samples + config.n_fft, np.float32)
        is_own = kernels.MIN_FFT <= config.n_fft <= kernels.MAX_FFT and config.n_fft.bit_count() == 1
        self._spectra = self._own_spectra() if is_own else self._scipy_spectra()
        self._mel = mel_filters(config) if config.kind == "logmel" else None
        if self._mel is not None:
            self._powers = np.empty((config.n_fft // 2 + 1, config.num_frames), np.float32)
            is_used = self._mel > 0
            self._starts = is_used.argmax(axis=1)
            self._stops = np.where(is_used.any(axis=1), is_used.shape[1] - is_used[:, ::-1].argmax(axis=1), 0)

    def _own_spectra(self) -> Callable[[np.ndarray], None]:
        spectra, tables = self._kernels.power_spectra(self._config.n_fft), self._kernels.tables(self._config.n_fft)
        return lambda out: spectra(self._padded, self._config.hop_length, *tables, out)

    def _scipy_spectra(self) -> Callable[[np.ndarray], None]:
        import scipy.fft

        frames = np.lib.stride_tricks.sliding_window_view(self._padded, self._config.n_fft)[:: self._config.hop_length]
        window = hann(self._config.n_fft)

        def spectra(out: np.ndarray) -> None:
            spectrum = scipy.fft.rfft(frames[: out.shape[1]] * window)
            out[...] = (spectrum.real**2 + spectrum.imag**2).T

        return spectra

    def __call__(self, wave: np.ndarray, out: np.ndarray) -> None:
        half = self._config.n_fft // 2
        self._padded[half : half + wave.size] = wave
        if self._mel is None:
            self._spectra(out)
        else:
            self._spectra(self._powers)
            self._kernels.banded(self._mel, self._starts, self._stops, self._powers, out)
        top_db = self._config.top_db
        lowest = 0.0 if top_db is None else float(out.max()) * 10 ** (-top_db / 10)
        self._kernels.decibels(out.reshape(-1), np.float32(max(MIN_POWER, lowest)))
