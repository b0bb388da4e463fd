"""The inner loops of the fast spectrogram, compiled by numba: window, power, mel bands and decibels.

Each is a loop that LLVM turns into SIMD code: flat, contiguous, without branches. None uses "fast math", so every sum
is taken in the order that stands here and no product is fused into it: each x86-64 processor gives the same bytes.
Compiled code is cached in the first folder of those numba knows that can be written, else each process compiles anew
(about 2 s). The only home of numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

Function = TypeVar("Function", bound=Callable[..., None])

LANES = 8  # frames that are transposed together: one AVX register of float32
_ONE = np.float32(1)
_DB_PER_OCTAVE = np.float32(10 * np.log10(2))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA_BITS = np.int32(0x007FFFFF)
# 20 / ln(10) * atanh(s) / s in powers of s^2, interpolated at the Chebyshev nodes of |s| <= 0.1716; error below 1e-8 dB
_A0, _A1, _A2, _A3 = (
    np.float32(20 / np.log(10) * c)
    for c in (0.999999999315659, 0.3333340766908481, 0.19987425257858515, 0.14962195260991146)
)


def _compiled(function: Function) -> Function:
    options = {"nogil": True, "error_model": "numpy"}
    try:
        compiled: Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache can be written
        compiled = numba.njit(**options)(function)
    return compiled


@_compiled
def windowed(padded: np.ndarray, window: np.ndarray, start: int, hop_length: int, frames: np.ndarray) -> None:
    """frames[f, i] = padded[start + f * hop_length + i] * window[i]; float64 [shape=(num_frames, n_fft)]."""
    for f in range(frames.shape[0]):
        source = padded[start + f * hop_length : start + f * hop_length + window.size]
        frame = frames[f]
        for i in range(window.size):
            frame[i] = source[i] * window[i]


@_compiled
def _unpack(z: np.ndarray, re: np.ndarray, im: np.ndarray) -> None:
    for k in range(re.size):
        re[k] = z[2 * k] * 0.5
        im[k] = z[2 * k + 1] * 0.5


@_compiled
def _pair_powers(
    re: np.ndarray, im: np.ndarray, cos: np.ndarray, sin: np.ndarray, low: np.ndarray, high: np.ndarray
) -> None:
    half = np.uintp(re.size)
    for k in range(1, low.size):
        j = half - np.uintp(k)  # unsigned: with a sign it might count from the end, and there would be no SIMD
        even_re, even_im = re[k] + re[j], im[k] - im[j]
        odd_re, odd_im = im[k] + im[j], re[j] - re[k]
        turned_re, turned_im = odd_re * cos[k] - odd_im * sin[k], odd_re * sin[k] + odd_im * cos[k]
        low[k] = (even_re + turned_re) * (even_re + turned_re) + (even_im + turned_im) * (even_im + turned_im)
        high[k] = (even_re - turned_re) * (even_re - turned_re) + (even_im - turned_im) * (even_im - turned_im)


@_compiled
def _transpose(rows: np.ndarray, start: int, step: int, first: int, out: np.ndarray) -> None:
    for k in range(rows.shape[1]):
        for lane in range(LANES):
            out[start + step * k, first + lane] = rows[lane, k]


@_compiled
def power(packed: np.ndarray, twiddle: np.ndarray, parts: np.ndarray, pairs: np.ndarray, out: np.ndarray) -> None:
    """Squared magnitudes of real FFTs from complex FFTs of half the length, transposed.

    A real frame read as complex numbers (even samples real, odd ones imaginary) has the FFT Z. With h = n_fft / 2 and
    E[k] = (Z[k] + Z*[h - k]) / 2, O[k] = -i (Z[k] - Z*[h - k]) / 2, T[k] = exp(-i pi k / h) O[k], the FFT of the frame
    is X[k] = E[k] + T[k] and X[h - k] = (E[k] - T[k])*.

    Parameters
    ----------
    packed : float64 [shape=(num_frames, n_fft)], real and imaginary parts of Z in turn
    twiddle : float64 [shape=(2, h)], real and imaginary parts of exp(-i pi k / h)
    parts : float64 [shape=(2, h)], working space
    pairs : float32 [shape=(2, LANES, (h + 1) // 2)], working space
    out : float32 [shape=(h + 1, num_frames)]; num_frames is LANES at least: the last block overlaps the one before
    """
    num_frames, half = packed.shape[0], packed.shape[1] // 2
    re, im, cos, sin, lows, highs = parts[0], parts[1], twiddle[0], twiddle[1], pairs[0], pairs[1]
    for start in range(0, num_frames, LANES):
        first = min(start, num_frames - LANES)
        for lane in range(LANES):
            z, low, high = packed[first + lane], lows[lane], highs[lane]
            _unpack(z, re, im)
            _pair_powers(re, im, cos, sin, low, high)
            low[0] = (z[0] + z[1]) * (z[0] + z[1])
            high[0] = (z[0] - z[1]) * (z[0] - z[1])
            if half % 2 == 0:
                out[half // 2, first + lane] = z[half] * z[half] + z[half + 1] * z[half + 1]
        _transpose(lows, 0, 1, first, out)
        _transpose(highs, half, -1, first, out)


@_compiled
def banded(weights: np.ndarray, starts: np.ndarray, stops: np.ndarray, powers: np.ndarray, out: np.ndarray) -> None:
    """out[m] = sum of weights[m, k] * powers[k] over starts[m] <= k < stops[m]; a row holds one value a frame."""
    for m in range(out.shape[0]):
        row = out[m]
        row[:] = 0
        for k in range(starts[m], stops[m]):
            weight, source = weights[m, k], powers[k]
            for f in range(row.size):
                row[f] += weight * source[f]


@_compiled
def decibels(values: np.ndarray, floor: np.float32) -> None:
    """In place: 10 log10(max(values, floor)); float32, flat and contiguous; floor is a normal number above 0.

    With values = 2^n m and m from sqrt(1/2) to sqrt(2): log(values) = n log(2) + 2 atanh(s), s = (m - 1) / (m + 1).
    """
    for i in range(values.size):
        bits = np.int32(np.float32(max(values[i], floor)).view(np.int32) - _SQRT_HALF_BITS)
        octave = np.int32(bits >> np.int32(23))
        mantissa = np.int32((bits & _MANTISSA_BITS) + _SQRT_HALF_BITS).view(np.float32)
        s = (mantissa - _ONE) / (mantissa + _ONE)
        square = s * s
        values[i] = (((_A3 * square + _A2) * square + _A1) * square + _A0) * s + np.float32(octave) * _DB_PER_OCTAVE
