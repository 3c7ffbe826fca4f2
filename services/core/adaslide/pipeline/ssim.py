"""Structural similarity of luma: Z. Wang et al., "Image quality assessment", IEEE Trans. Image Process.
13(4), 2004, with a uniform window, sample covariances, and every window that lies inside the image.

As scikit-image has it, to a few 1e-5, in a quarter of the time: the original's part is computed once, windows
are added up from halves, and bands of rows stay in the processor's cache.
"""

from collections.abc import Iterator

import numpy as np

from adaslide.domain.pixels import LUMA, Pixels, Plane

_GREY = np.float32(128)
"""Luma is counted from here: squares of smaller numbers lose fewer digits when they are subtracted."""
_MEANS, _DEVIATIONS = (0.01 * 255) ** 2, (0.03 * 255) ** 2
"""What keeps the ratios of means and of deviations finite."""
_BAND = 96
"""Rows of windows that are compared at once."""


class Structure:
    """The original's side of the comparison: window sums of (h, w, 3) ``original``, computed once.

    ``side`` of the windows, px, is odd, at least 3 and at most the image's smaller side.
    """

    def __init__(self, original: Pixels, side: int) -> None:
        self._side = side
        self._luma = _luma(original)
        self._means = window_sums(self._luma, side) / np.float32(side * side)
        self._squares = window_sums(np.square(self._luma), side)

    def similarity(self, restored: Pixels) -> float:
        """The mean over all windows for (h, w, 3) ``restored``; 1 where it equals the original."""
        total = sum(self._of_band(restored, top, bottom) for top, bottom in self._bands())
        return total / self._means.size

    def _bands(self) -> Iterator[tuple[int, int]]:
        rows = len(self._means)
        return ((top, min(top + _BAND, rows)) for top in range(0, rows, _BAND))

    def _of_band(self, restored: Pixels, top: int, bottom: int) -> float:
        """The sum over the windows whose first rows are ``top`` to ``bottom``."""
        lines = slice(top, bottom + self._side - 1)
        area = np.float32(self._side * self._side)
        ours, theirs = self._luma[lines], _luma(restored[lines])
        mean, their_mean = self._means[top:bottom], window_sums(theirs, self._side) / area
        product = mean * their_mean
        squares = np.square(mean) + np.square(their_mean)

        covariance = window_sums(ours * theirs, self._side)
        covariance -= area * product
        covariance *= 2 / (area - 1)
        covariance += np.float32(_DEVIATIONS)
        variance = window_sums(np.square(theirs), self._side)
        variance += self._squares[top:bottom]
        variance -= area * squares
        variance *= 1 / (area - 1)
        variance += np.float32(_DEVIATIONS)

        # Means are wanted from black: (a + g)(b + g) is ab + g(a + b) + g^2.
        shift = mean + their_mean
        shift *= 2 * _GREY
        shift += 2 * _GREY**2 + np.float32(_MEANS)
        product *= 2
        product += shift
        squares += shift
        product *= covariance
        squares *= variance
        product /= squares
        return float(product.sum(dtype=np.float64))


def window_sums(plane: Plane, side: int) -> Plane:
    """(h - side + 1, w - side + 1): the sum over every ``side`` x ``side`` window inside (h, w) ``plane``."""
    return _row_sums(_row_sums(plane, side).T, side).T


def _row_sums(plane: Plane, side: int) -> Plane:
    """Of every ``side`` rows that follow one another: two halves, and the last one where ``side`` is odd."""
    if side == 1:
        return plane
    count, half = len(plane) - side + 1, side // 2
    halves = _row_sums(plane, half)
    sums: Plane = halves[:count] + halves[half : half + count]
    if side % 2:
        sums += plane[side - 1 :]
    return sums


def _luma(pixels: Pixels) -> Plane:
    luma: Plane = pixels @ LUMA
    luma -= _GREY
    return luma
