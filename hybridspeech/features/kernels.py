"""Compiled kernels (numba) of the fast spectrogram: window, power spectrum, mel bands, decibels and half precision.

LLVM vectorises each loop (SIMD): it is flat, has no branches, and its arrays have known sizes. "Fast math" is off, so the
compiler neither reorders sums nor fuses products into them, and every x86-64 processor gives the same bytes. Compiled
code is cached in the first writable cache folder of numba; without one, each process compiles again (about 4 s). Knows
nothing of configs and clips.

The power spectrum of a frame x of N = 8 L samples, in float64, in four steps:

1. Four interleaved complex sequences z_j[m] = x[8 m + j] + i x[8 m + 4 + j], j = 0..3: the frame is already in this order.
2. Their FFTs Z_j, of length L: Stockham passes of radix 4 and at most one of radix 2; no bit reversal is needed.
3. The FFTs of the eight real sequences in them: S_j[k] = (Z_j[k] + Z_j*[L - k]) / 2, S_(4 + j)[k] the same of -i (Z - Z*).
4. X[k + L q] = sum over r of S_r[k] exp(-2 pi i r k / N) exp(-2 pi i r q / 8): eight bins at a time. Bins above N / 2 are
   mirror images, so k = 0..L / 2 is enough; the powers are transposed into the result, LANES frames at a time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from hybridspeech.features.window import hann

Function = TypeVar("Function", bound=Callable[..., Any])

MIN_FFT, MAX_FFT = 128, 16_384  # `power_spectra` has the passes for the powers of two in this range
LANES = 8  # frames that are transposed together: one AVX register of float32
_ONE = np.float32(1)
_SQRT_HALF = float(np.sqrt(0.5))
_DB_PER_OCTAVE = np.float32(10 * np.log10(2))
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA_BITS = np.int32(0x007FFFFF)
# Bit patterns of float32: the smallest normal float16, the smallest value that rounds to infinity, and 0.5, whose last bit
# is the last bit of the subnormal float16
_MIN_NORMAL_HALF, _MIN_INFINITE_HALF, _HALF_BITS = np.int32(0x38800000), np.int32(0x477FF000), np.int32(0x3F000000)
_INFINITY_BITS, _INFINITE_HALF, _NAN_HALF = np.int32(0x7F800000), np.int32(0x7C00), np.int32(0x7E00)
_HALF = np.float32(0.5)
_TO_HALF_EXPONENT = np.int32((127 - 15) << 23)
# 20 / ln(10) * atanh(s) / s in powers of s^2, interpolated at the Chebyshev nodes of |s| <= 0.1716; error below 1e-8 dB
_A0, _A1, _A2, _A3 = (
    np.float32(20 / np.log(10) * c)
    for c in (0.999999999315659, 0.3333340766908481, 0.19987425257858515, 0.14962195260991146)
)
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _compiled(function: Function) -> Function:
    try:
        compiled: Function = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no cache folder is writable
        compiled = numba.njit(**_OPTIONS)(function)
    return compiled


def _inlined(function: Function) -> Function:
    """Compile a function as part of its caller: SIMD needs the constants of the caller."""
    inlined: Function = numba.njit(inline="always", **_OPTIONS)(function)
    return inlined


@_inlined
def _turned(z: complex) -> complex:
    return complex(z.imag, -z.real)  # -i z


@_inlined
def _power(z: complex) -> np.float32:
    return np.float32(z.real * z.real + z.imag * z.imag)


@_inlined
def _fft4(a: complex, b: complex, c: complex, d: complex) -> tuple[complex, complex, complex, complex]:
    even, odd, total, turned = a + c, a - c, b + d, _turned(b - d)
    return even + total, odd + turned, even - total, odd - turned


@_inlined
def _windowed(samples: np.ndarray, begin: int, window: np.ndarray, y: np.ndarray) -> None:
    for i in range(window.size):
        y[i] = samples[begin + i] * window[i]


@_inlined
def _first_butterfly(
    x: np.ndarray, i: int, h: int, w1: complex, w2: complex, w3: complex
) -> tuple[complex, complex, complex, complex]:
    a, b = complex(x[i], x[i + 4]), complex(x[h + i], x[h + i + 4])
    c, d = complex(x[2 * h + i], x[2 * h + i + 4]), complex(x[3 * h + i], x[3 * h + i + 4])
    z0, z1, z2, z3 = _fft4(a, b, c, d)
    return z0, z1 * w1, z2 * w2, z3 * w3


@_inlined
def _put(y: np.ndarray, o: int, u: int, a: complex, b: complex, c: complex, d: complex) -> None:
    y[o], y[o + 1], y[o + 2], y[o + 3] = a.real, b.real, c.real, d.real
    y[u + o], y[u + o + 1], y[u + o + 2], y[u + o + 3] = a.imag, b.imag, c.imag, d.imag


@_inlined
def _first_pass(x: np.ndarray, turns: np.ndarray, y: np.ndarray, n: int) -> None:
    """Radix 4, from a frame x to planes y: real parts at i = 4 m + j, imaginary ones at n + 4 + i."""
    u, h = n + 4, n // 2
    for p in range(n // 16):
        w1, w2, w3 = turns[0, p], turns[1, p], turns[2, p]
        a0, a1, a2, a3 = _first_butterfly(x, 8 * p, h, w1, w2, w3)
        b0, b1, b2, b3 = _first_butterfly(x, 8 * p + 1, h, w1, w2, w3)
        c0, c1, c2, c3 = _first_butterfly(x, 8 * p + 2, h, w1, w2, w3)
        d0, d1, d2, d3 = _first_butterfly(x, 8 * p + 3, h, w1, w2, w3)
        _put(y, 16 * p, u, a0, b0, c0, d0)
        _put(y, 16 * p + 4, u, a1, b1, c1, d1)
        _put(y, 16 * p + 8, u, a2, b2, c2, d2)
        _put(y, 16 * p + 12, u, a3, b3, c3, d3)


@_inlined
def _radix4_pass(x: np.ndarray, turns: np.ndarray, y: np.ndarray, n: int, s: int) -> None:
    """One pass of Stockham's FFT from planes x to planes y; s adjacent values have the same twiddle factor."""
    u, h = n + 4, n // 4
    for p in range(n // (4 * s)):
        t = p * (s // 4)
        w1, w2, w3 = turns[0, t], turns[1, t], turns[2, t]
        for q in range(s):
            i, o = s * p + q, 4 * s * p + q
            a, b = complex(x[i], x[u + i]), complex(x[h + i], x[u + h + i])
            c, d = complex(x[2 * h + i], x[u + 2 * h + i]), complex(x[3 * h + i], x[u + 3 * h + i])
            z0, z1, z2, z3 = _fft4(a, b, c, d)
            z1, z2, z3 = z1 * w1, z2 * w2, z3 * w3
            y[o], y[o + s], y[o + 2 * s], y[o + 3 * s] = z0.real, z1.real, z2.real, z3.real
            y[u + o], y[u + o + s], y[u + o + 2 * s], y[u + o + 3 * s] = z0.imag, z1.imag, z2.imag, z3.imag


@_inlined
def _radix2_pass(x: np.ndarray, y: np.ndarray, n: int) -> None:
    u, h = n + 4, n // 2
    for q in range(h):
        y[q] = x[q] + x[h + q]
        y[h + q] = x[q] - x[h + q]
        y[u + q] = x[u + q] + x[u + h + q]
        y[u + h + q] = x[u + q] - x[u + h + q]


@_inlined
def _pair(x: np.ndarray, at: np.uintp, back: np.uintp, u: np.uintp) -> tuple[complex, complex]:
    z, mirrored = complex(x[at], x[u + at]), complex(x[back], -x[u + back])
    return z + mirrored, _turned(z - mirrored)


@_inlined
def _last_pass(x: np.ndarray, turns: np.ndarray, powers: np.ndarray, lane: int, n: int) -> None:
    """Steps 3 and 4: |X[k + L q]|^2 to powers[lane, q m + k] and |X[L (4 - q) - k]|^2 to powers[lane, (4 + q) m + k].

    m = L / 2 + 1; `turns` is flat, 14 times m: real and imaginary parts in turn. The window holds step 3's factor 1 / 2.
    """
    u, m = n + 4, n // 8 + 1
    for i in range(4):
        x[n + i], x[u + n + i] = x[i], x[u + i]  # Z_j[L] is Z_j[0]
    v = np.uintp(u)  # unsigned, like `at` and `back`: a signed index may be negative, which prevents SIMD
    for k in range(m):
        at, back = np.uintp(4) * np.uintp(k), np.uintp(n) - np.uintp(4) * np.uintp(k)
        t0, t4 = _pair(x, at, back, v)
        t1, t5 = _pair(x, at + np.uintp(1), back + np.uintp(1), v)
        t2, t6 = _pair(x, at + np.uintp(2), back + np.uintp(2), v)
        t3, t7 = _pair(x, at + np.uintp(3), back + np.uintp(3), v)
        t1 *= complex(turns[k], turns[m + k])
        t2 *= complex(turns[2 * m + k], turns[3 * m + k])
        t3 *= complex(turns[4 * m + k], turns[5 * m + k])
        t4 *= complex(turns[6 * m + k], turns[7 * m + k])
        t5 *= complex(turns[8 * m + k], turns[9 * m + k])
        t6 *= complex(turns[10 * m + k], turns[11 * m + k])
        t7 *= complex(turns[12 * m + k], turns[13 * m + k])
        a0, a1, a2, a3 = _fft4(t0, t2, t4, t6)
        b0, b1, b2, b3 = _fft4(t1, t3, t5, t7)
        b1 = complex(_SQRT_HALF * (b1.real + b1.imag), _SQRT_HALF * (b1.imag - b1.real))
        b2 = _turned(b2)
        b3 = complex(_SQRT_HALF * (b3.imag - b3.real), -_SQRT_HALF * (b3.real + b3.imag))
        powers[lane, k], powers[lane, m + k] = _power(a0 + b0), _power(a1 + b1)
        powers[lane, 2 * m + k], powers[lane, 3 * m + k] = _power(a2 + b2), _power(a3 + b3)
        powers[lane, 4 * m + k], powers[lane, 5 * m + k] = _power(a0 - b0), _power(a1 - b1)
        powers[lane, 6 * m + k], powers[lane, 7 * m + k] = _power(a2 - b2), _power(a3 - b3)


@_inlined
def _transpose(powers: np.ndarray, n: int, first: int, lanes: int, out: np.ndarray) -> None:
    m, length = n // 8 + 1, n // 4
    for q in range(4):
        for k in range(m):
            for lane in range(lanes):
                out[length * q + k, first + lane] = powers[lane, q * m + k]
        for k in range(m):
            for lane in range(lanes):
                out[length * (4 - q) - k, first + lane] = powers[lane, (4 + q) * m + k]


@functools.cache
def power_spectra(n_fft: int) -> Callable[..., None]:
    """Return the compiled function (samples, hop_length, window, turns, last_turns, x, y, powers, out) for one n_fft.

    out[k, f] is the power at bin k of the frame that begins at samples[f * hop_length]; float32
    [shape=(n_fft // 2 + 1, num_frames)]. Samples are float32; the arguments between hop_length and out are those of
    `tables(n_fft)`. n_fft is a power of two from MIN_FFT to MAX_FFT.
    """
    n = n_fft // 2
    has_radix2 = n_fft.bit_length() % 2 == 1
    is_in_x = 256 <= n < 1024 or n >= 4096  # the result of the last pass of radix 4 is in x

    @_compiled
    def function(
        samples: np.ndarray,
        hop_length: int,
        window: np.ndarray,
        turns: np.ndarray,
        last_turns: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        powers: np.ndarray,
        out: np.ndarray,
    ) -> None:
        num_frames = out.shape[1]
        for first in range(0, num_frames, LANES):
            lanes = min(LANES, num_frames - first)
            for lane in range(lanes):
                _windowed(samples, (first + lane) * hop_length, window, y)
                _first_pass(y, turns, x, n)
                _radix4_pass(x, turns, y, n, 16)
                if n >= 256:
                    _radix4_pass(y, turns, x, n, 64)
                if n >= 1024:
                    _radix4_pass(x, turns, y, n, 256)
                if n >= 4096:
                    _radix4_pass(y, turns, x, n, 1024)
                if is_in_x and has_radix2:
                    _radix2_pass(x, y, n)
                    _last_pass(y, last_turns, powers, lane, n)
                elif is_in_x:
                    _last_pass(x, last_turns, powers, lane, n)
                elif has_radix2:
                    _radix2_pass(y, x, n)
                    _last_pass(x, last_turns, powers, lane, n)
                else:
                    _last_pass(y, last_turns, powers, lane, n)
            if lanes == LANES:
                _transpose(powers, n, first, LANES, out)
            else:
                _transpose(powers, n, first, lanes, out)

    return function


def tables(n_fft: int) -> tuple[np.ndarray, ...]:
    """Return window, turns, last_turns, x, y and powers of `power_spectra(n_fft)`; the last three are its buffers.

    `turns` and `last_turns` are the twiddle factors.
    """
    n = n_fft // 2
    turns = np.exp(-2j * np.pi / (n // 4) * np.outer((1, 2, 3), np.arange(n // 16)))
    last = np.exp(-2j * np.pi / n_fft * np.outer(range(1, 8), np.arange(n // 8 + 1)))
    last_turns = np.stack([last.real, last.imag], axis=1).reshape(-1)
    # x and y are two arrays, not two rows of one: otherwise LLVM assumes that they may overlap, and there is no SIMD.
    work = (np.zeros(2 * n + 8), np.zeros(2 * n + 8), np.zeros((LANES, n + 8), np.float32))
    return tuple(_aligned(array) for array in (0.5 * hann(n_fft), turns, last_turns, *work))


def _aligned(array: np.ndarray) -> np.ndarray:
    """Return a copy that begins at a cache line, which saves a quarter of the time."""
    space = np.empty(array.nbytes + 64, np.uint8)
    start = -space.ctypes.data % 64
    copy: np.ndarray = space[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@_compiled
def banded(weights: np.ndarray, starts: np.ndarray, stops: np.ndarray, powers: np.ndarray, out: np.ndarray) -> None:
    """Compute out[m] = sum of weights[m, k] * powers[k] over starts[m] <= k < stops[m]; a row has one value per frame."""
    for m in range(out.shape[0]):
        row = out[m]
        row[:] = 0
        for k in range(starts[m], stops[m]):
            weight, source = weights[m, k], powers[k]
            for f in range(row.size):
                row[f] += weight * source[f]


@_compiled
def decibels(values: np.ndarray, floor: np.float32) -> None:
    """Compute 10 log10(max(values, floor)) in place; float32, flat and contiguous; floor is a normal number above 0.

    With values = 2^n m and m from sqrt(1/2) to sqrt(2): log(values) = n log(2) + 2 atanh(s), s = (m - 1) / (m + 1).
    """
    for i in range(values.size):
        bits = np.int32(np.float32(max(values[i], floor)).view(np.int32) - _SQRT_HALF_BITS)
        octave = np.int32(bits >> np.int32(23))
        mantissa = np.int32((bits & _MANTISSA_BITS) + _SQRT_HALF_BITS).view(np.float32)
        s = (mantissa - _ONE) / (mantissa + _ONE)
        square = s * s
        values[i] = (((_A3 * square + _A2) * square + _A1) * square + _A0) * s + np.float32(octave) * _DB_PER_OCTAVE


@_compiled
def to_float16(values: np.ndarray, out: np.ndarray) -> None:
    """Convert float32 values to the bits of float16 (uint16), rounded to nearest even, as NumPy does in 12 times the time.

    Both are flat and contiguous. NaN becomes a quiet NaN.
    """
    for i in range(values.size):
        bits = np.float32(values[i]).view(np.int32)
        magnitude = np.int32(bits & np.int32(0x7FFFFFFF))
        odd = np.int32((magnitude >> np.int32(13)) & np.int32(1))
        normal = np.int32(np.int32(magnitude - _TO_HALF_EXPONENT + np.int32(0xFFF) + odd) >> np.int32(13))
        small = np.int32(np.float32(magnitude.view(np.float32) + _HALF).view(np.int32) - _HALF_BITS)
        half = small if magnitude < _MIN_NORMAL_HALF else normal
        half = half if magnitude < _MIN_INFINITE_HALF else _INFINITE_HALF
        half = half if magnitude <= _INFINITY_BITS else _NAN_HALF
        out[i] = np.uint16(half | np.int32((bits >> np.int32(16)) & np.int32(0x8000)))
