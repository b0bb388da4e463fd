from __future__ import annotations

import numpy as np

from hybridspeech.features.kernels import to_float16


def test_half_precision_is_rounded_as_numpy_does() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    values = halves[np.isfinite(halves)]
    middles = (values[:-1] + values[1:]) / 2  # of adjacent values of one sign: ties
    edges = [np.nextafter(middles, np.float32(side)) for side in (-np.inf, np.inf)]
    large = np.array([65519.996, 65520, 3e38, np.inf, -np.inf], np.float32)
    given = np.concatenate([values, middles, *edges, large]).astype(np.float32)
    with np.errstate(over="ignore"):
        expected = given.astype(np.float16).view(np.uint16)
    found = np.empty(given.size, np.uint16)
    to_float16(given, found)
    np.testing.assert_array_equal(found, expected)


def test_nan_stays_nan_in_half_precision() -> None:
    found = np.empty(2, np.uint16)
    to_float16(np.array([np.nan, -np.nan], np.float32), found)
    assert np.isnan(found.view(np.float16)).all()
