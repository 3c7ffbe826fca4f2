"""A Gaussian's smoothing: SciPy's but for a last digit, and without importing it in every process."""

import numpy as np
import numpy.typing as npt

from adaslide.domain.pixels import Plane

_TRUNCATE = 4.0
"""Standard deviations at which the kernel ends."""
_BAND = 8
"""Rows that are smoothed at once: products so small that no library spreads them over threads."""

Taps = npt.NDArray[np.float64]


def smoothed(plane: Plane, sigma: float) -> Plane:
    """(h, w) ``plane`` under a Gaussian of standard deviation ``sigma``, px, mirrored at its edges."""
    radius = int(_TRUNCATE * sigma + 0.5)
    taps = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
    taps /= taps.sum()
    across = _down(_down(plane, taps).T, taps).T
    return np.ascontiguousarray(across)


def _down(plane: Plane, taps: Taps) -> Plane:
    """Every column of ``plane``: bands of rows times one matrix of shifted ``taps``, in double precision."""
    rows, reach = len(plane), len(taps) - 1
    bands = range(0, rows, _BAND)
    beyond = len(bands) * _BAND - rows
    padded = np.pad(plane, ((reach // 2, reach // 2 + beyond), (0, 0)), mode="symmetric").astype(np.float64)
    shifted = np.zeros((_BAND, _BAND + reach))
    for row in range(_BAND):
        shifted[row, row : row + reach + 1] = taps
    out = np.empty((len(bands) * _BAND, plane.shape[1]), np.float32)
    for top in bands:
        out[top : top + _BAND] = shifted @ padded[top : top + _BAND + reach]
    return out[:rows]
