"""The log-mel spectrogram in integers, as a microcontroller without floating point computes it.

Each step is one that a C program on a 32-bit processor can repeat to the bit:

1. sample (int16) times window (Q15), shifted right by 8: Q22, so that a transform of up to 512 points can not overflow int32
2. radix-2 FFT, int32, twiddle factors in Q30, products in int64, rounded
3. power: squares in int64, shifted right by 12: full scale is 2^32
4. mel bands: weights in Q20, sums in int64: full scale is 2^52
5. logarithm to base 2 in Q16: position of the first bit, and a table of 65 values with linear interpolation
6. decibels in Q8, with the limit `top_db` below the maximum of the clip if there is one

Knows nothing of networks and quantisation.
"""

from __future__ import annotations

import numpy as np

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError
from hybridspeech.features.reference import MIN_POWER, mel_filters_float64
from hybridspeech.features.window import hann

MAX_FFT = 512
"""Largest FFT whose values fit into int32."""
_SAMPLE_SHIFT, _POWER_SHIFT, _MEL_BITS, _TABLE_BITS = 8, 12, 20, 6
_POWER_BITS = 2 * (30 - _SAMPLE_SHIFT) - _POWER_SHIFT + _MEL_BITS  # 52
DECIBEL_BITS = 8


class FixedPointLogMel:
    """Computes log-mel spectrograms in integers.

    Parameters
    ----------
    config : settings of kind "logmel"; n_fft is a power of two up to MAX_FFT

    Raises
    ------
    ConfigError: other features.
    """

    def __init__(self, config: FeatureConfig) -> None:
        if config.kind != "logmel" or config.n_fft.bit_count() != 1 or config.n_fft > MAX_FFT:
            raise ConfigError(
                f"features are {config.kind} with n_fft {config.n_fft}; fixed point needs logmel and a power of two up to "
                f"{MAX_FFT}"
            )
        self.config = config
        n_fft = config.n_fft
        self.window = np.round(32_767 * hann(n_fft)).astype(np.int64)
        angles = -2 * np.pi * np.arange(n_fft // 2) / n_fft
        self.twiddles = np.round(np.stack([np.cos(angles), np.sin(angles)]) * 2**30).astype(np.int64)
        self.order = _bit_reversed(n_fft)
        self.mel = np.round(mel_filters_float64(config) * 2**_MEL_BITS).astype(np.int64)
        steps = np.arange(2**_TABLE_BITS + 1) / 2**_TABLE_BITS
        self.logarithms = np.round(np.log2(1 + steps) * 2**16).astype(np.int64)

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        """Compute the spectrogram of one clip.

        Parameters
        ----------
        pcm : int16 [shape=(config.num_samples,)]

        Returns
        -------
        int32 [shape=(n_mels, num_frames)], dB in Q8: 256 is 1 dB
        """
        powers = self._powers(self._frames(pcm)) >> _POWER_SHIFT
        bands = powers @ self.mel.T
        smallest = int(MIN_POWER * 2**_POWER_BITS)
        logarithms = self._log2(np.maximum(bands, smallest)) - (_POWER_BITS << 16)
        decibels = (logarithms * round(10 * np.log10(2) * 2**13) + 2**20) >> (16 + 13 - DECIBEL_BITS)
        if self.config.top_db is not None:
            decibels = np.maximum(decibels, decibels.max() - round(self.config.top_db * 2**DECIBEL_BITS))
        return np.ascontiguousarray(decibels.T, np.int32)

    def _frames(self, pcm: np.ndarray) -> np.ndarray:
        padded = np.pad(pcm.astype(np.int64), self.config.padding)
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.config.n_fft)[:: self.config.hop_length]
        windowed: np.ndarray = (frames[: self.config.num_frames] * self.window) >> _SAMPLE_SHIFT
        return windowed

    def _powers(self, frames: np.ndarray) -> np.ndarray:
        """Radix-2 FFT with decimation in time; int64 [shape=(num_frames, 1 + n_fft // 2)]."""
        n_fft = self.config.n_fft
        real, imaginary = frames[:, self.order], np.zeros_like(frames)
        half = 1
        while half < n_fft:
            cosines, sines = self.twiddles[:, :: n_fft // (2 * half)]
            x, y = (part.reshape(len(frames), -1, 2, half) for part in (real, imaginary))
            turned_x = _scaled(x[:, :, 1] * cosines - y[:, :, 1] * sines)
            turned_y = _scaled(x[:, :, 1] * sines + y[:, :, 1] * cosines)
            real = np.stack([x[:, :, 0] + turned_x, x[:, :, 0] - turned_x], axis=2).reshape(frames.shape)
            imaginary = np.stack([y[:, :, 0] + turned_y, y[:, :, 0] - turned_y], axis=2).reshape(frames.shape)
            half *= 2
        positive = slice(0, 1 + n_fft // 2)
        powers: np.ndarray = real[:, positive] ** 2 + imaginary[:, positive] ** 2
        return powers

    def _log2(self, values: np.ndarray) -> np.ndarray:
        """Logarithm of positive integers in Q16."""
        exponents = np.frexp(values.astype(np.longdouble))[1].astype(np.int64) - 1  # position of the first bit
        mantissas = np.where(
            exponents >= 22, values >> np.maximum(exponents - 22, 0), values << np.maximum(22 - exponents, 0)
        )
        fractions = mantissas - (1 << 22)
        places, rest = fractions >> (22 - _TABLE_BITS), fractions & ((1 << (22 - _TABLE_BITS)) - 1)
        below, above = self.logarithms[places], self.logarithms[places + 1]
        logarithms: np.ndarray = (exponents << 16) + below + (((above - below) * rest) >> (22 - _TABLE_BITS))
        return logarithms


def to_pcm(wave: np.ndarray) -> np.ndarray:
    """Convert samples with full scale 1.0 to int16."""
    return np.clip(np.round(wave * 32_768), -32_768, 32_767).astype(np.int16)


def quantized(decibels: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Convert decibels in Q8 to the int8 input of a network: decibels / scale + zero_point, rounded, in integers."""
    multiplier = round(2 ** (24 - DECIBEL_BITS) / scale)  # Q24
    values = ((decibels.astype(np.int64) * multiplier + 2**23) >> 24) + zero_point
    return np.asarray(np.clip(values, -128, 127), np.int8)


def _scaled(products: np.ndarray) -> np.ndarray:
    return (products + 2**29) >> 30


def _bit_reversed(size: int) -> np.ndarray:
    bits = size.bit_length() - 1
    return np.array([int(f"{number:0{bits}b}"[::-1], 2) for number in range(size)])
