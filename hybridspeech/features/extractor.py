"""Computes the spectrogram of a waveform, by one of two kernels that agree.

The reference kernel calls librosa. The fast kernel uses preallocated buffers and the compiled FFT of `kernels` if n_fft is
a power of two from 128 to 16,384, else scipy's. Its FFT is in float64: with any float32 FFT, a bin 80 dB below the
maximum is wrong by up to 7e-3 dB, in four of ten recorded clips. Powers and decibels are float32; the result is within
1e-4 dB of librosa's.

It computes one clip at a time, because one clip fits in the cache, in one thread. Knows nothing of files and shards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import AudioError, ConfigError
from hybridspeech.features.mel import mel_filters
from hybridspeech.features.reference import MIN_POWER, ReferenceKernel
from hybridspeech.features.window import hann

_MAX_PEAK = 1e12  # the square of the sum of 65,536 such samples is still a float32


class FeatureExtractor:
    """Computes spectrograms by one config. It has buffers: use one extractor per thread.

    The constructor compiles the kernels, or loads them from numba's cache.

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
        """Compute the spectrogram of one clip, in dB re 1.0; for kind "waveform" check and copy the clip.

        Parameters
        ----------
        wave : float [shape=(config.num_samples,)], full scale = 1.0, mono, at config.sample_rate_hz
        out : array to write to, e.g. `ShardWriter.payload`; float32, C order [shape=config.shape]

        Returns
        -------
        float32 [shape=(num_bins, num_frames)], C order; `out` if it was given. Values are at least -100 dB, and at most
        `top_db` below the maximum.

        Raises
        ------
        AudioError: wave is empty or not finite, or a sample exceeds 1e12, so that its power is not finite.
        ConfigError: wave or out has another shape or type.
        """
        wave = _checked(wave, self.config)
        if out is None:
            out = np.empty(self.config.shape, np.float32)
        elif out.shape != self.config.shape or out.dtype != np.float32 or not out.flags.carray:
            given = f"{out.dtype} {out.shape}"
            raise ConfigError(f"out is {given}; expected writable float32 {self.config.shape} in C order")
        check_peak(wave)
        self._transform(wave, out)
        return out


def check_peak(wave: np.ndarray) -> None:
    """Raise AudioError if a sample is not finite, or so large that its power is not."""
    peak = max(float(wave.max()), -float(wave.min()))
    if not peak <= _MAX_PEAK:  # true for NaN too
        raise AudioError("not-finite", f"the largest sample is {peak}; expected full scale 1.0")


def _transform_of(config: FeatureConfig) -> Callable[[np.ndarray, np.ndarray], None]:
    if config.kind == "waveform":
        return lambda wave, out: np.copyto(out[0], wave)
    return _FastKernel(config) if config.kernel == "fast" else ReferenceKernel(config)


_CACHE = threading.local()


def spectrogram(wave: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Compute `FeatureExtractor(config)(wave)`; each thread caches the extractor of its last config."""
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


class _FastKernel:
    def __init__(self, config: FeatureConfig) -> None:
        from hybridspeech.features import kernels

        self._kernels = kernels
        self._config = config
        self._padded = np.zeros(config.num_samples + config.n_fft, np.float32)
        is_own = kernels.MIN_FFT <= config.n_fft <= kernels.MAX_FFT and config.n_fft.bit_count() == 1
        self.own_spectra = self._own_spectra() if is_own else None
        self._spectra = self._scipy_spectra() if self.own_spectra is None else self._padded_spectra
        self._mel = mel_filters(config) if config.kind == "logmel" else None
        if self._mel is not None:
            self._powers = np.empty((config.n_fft // 2 + 1, config.num_frames), np.float32)
            is_used = self._mel > 0
            self._starts = is_used.argmax(axis=1)
            self._stops = np.where(is_used.any(axis=1), is_used.shape[1] - is_used[:, ::-1].argmax(axis=1), 0)

    def _own_spectra(self) -> Callable[[np.ndarray, np.ndarray], None]:
        spectra, tables = self._kernels.power_spectra(self._config.n_fft), self._kernels.tables(self._config.n_fft)
        return lambda samples, out: spectra(samples, self._config.hop_length, *tables, out)

    def _padded_spectra(self, out: np.ndarray) -> None:
        assert self.own_spectra is not None
        self.own_spectra(self._padded, out)

    def _scipy_spectra(self) -> Callable[[np.ndarray], None]:
        import scipy.fft

        frames = np.lib.stride_tricks.sliding_window_view(self._padded, self._config.n_fft)[:: self._config.hop_length]
        window = hann(self._config.n_fft)

        def spectra(out: np.ndarray) -> None:
            spectrum = scipy.fft.rfft(frames[: out.shape[1]] * window)
            out[...] = (spectrum.real**2 + spectrum.imag**2).T

        return spectra

    def __call__(self, wave: np.ndarray, out: np.ndarray) -> None:
        before = self._config.padding[0]
        self._padded[before : before + wave.size] = wave
        if self._mel is None:
            self._spectra(out)
        else:
            self._spectra(self._powers)
            self._kernels.banded(self._mel, self._starts, self._stops, self._powers, out)
        self.to_decibels(out)

    def frames(self, samples: np.ndarray, count: int) -> np.ndarray:
        """Return the power of `count` frames, the first of which begins at samples[0]; float32 [shape=(num_bins, count)]."""
        assert self.own_spectra is not None
        powers = np.empty((self._config.n_fft // 2 + 1, count), np.float32)
        self.own_spectra(samples, powers)
        if self._mel is None:
            return powers
        bands = np.empty((len(self._mel), count), np.float32)
        self._kernels.banded(self._mel, self._starts, self._stops, powers, bands)
        return bands

    def to_decibels(self, out: np.ndarray) -> None:
        top_db = self._config.top_db
        lowest = 0.0 if top_db is None else float(out.max()) * 10 ** (-top_db / 10)
        self._kernels.decibels(out.reshape(-1), np.float32(max(MIN_POWER, lowest)))


class SharedFrames:
    """Computes the spectrograms of overlapping windows with the compiled kernels; see `sliding`. It has buffers.

    Frames `first` to `end` - 1 of a window see no zero padding; they are frames of the sound.
    """

    def __init__(self, kernel: _FastKernel, config: FeatureConfig) -> None:
        half, step = config.n_fft // 2, config.hop_length
        self._kernel, self._config = kernel, config
        self.first = -(-half // step)
        self.end = 1 + (config.num_samples - half) // step
        self._left = np.zeros((self.first - 1) * step + config.n_fft, np.float32)
        self._right = np.zeros(max(0, config.num_frames - 1 - self.end) * step + config.n_fft, np.float32)

    def __call__(self, sound: np.ndarray, hop: int, out: np.ndarray) -> None:
        """Write the spectrogram, in dB, of each window k that begins at k * hop, a multiple of the hop length, to out[k]."""
        config, first, end = self._config, self.first, self.end
        half, step, length = config.n_fft // 2, config.hop_length, config.num_samples
        shared = self._kernel.frames(sound[first * step - half :], (len(out) - 1) * (hop // step) + end - first)
        num_right = length - (end * step - half)
        for number, spectrogram in enumerate(out):
            window = sound[number * hop : number * hop + length]
            self._left[half:] = window[: self._left.size - half]
            at = number * (hop // step)
            spectrogram[:, :first] = self._kernel.frames(self._left, first)
            spectrogram[:, first:end] = shared[:, at : at + end - first]
            if end < config.num_frames:
                self._right[:num_right] = window[length - num_right :]
                spectrogram[:, end:] = self._kernel.frames(self._right, config.num_frames - end)
            self._kernel.to_decibels(spectrogram)


def shared_frames(extractor: FeatureExtractor) -> SharedFrames | None:
    """Return the computation for overlapping windows; None if the kernel has none, or every frame sees the padding."""
    config, kernel = extractor.config, extractor._transform
    if not isinstance(kernel, _FastKernel) or kernel.own_spectra is None:
        return None
    shared = SharedFrames(kernel, config)
    return shared if shared.first < shared.end else None
