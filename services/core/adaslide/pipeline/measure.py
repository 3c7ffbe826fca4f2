"""What one restored patch lost against its original."""

from functools import cached_property
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from adaslide.domain.fidelity import IDENTICAL, PSNR_IDENTICAL, Fidelity
from adaslide.domain.pixels import Mask, Pixels, Plane
from adaslide.pipeline.colour import cube_roots, mean_difference, squares_of, worst_difference
from adaslide.pipeline.ssim import Structure
from adaslide.ports.segmenter import Segmenter

WINDOW = 128
"""Side of the window whose worst Dice is kept, px: a mitosis cannot hide in a patch's mean."""
STRIDE = 64
NUCLEI_SHARE = 0.01
"""A window holds nuclei when the original's mask covers this share of it."""
SMOOTHING = 500 / 512**2
"""Dice is smoothed by this share of the area (500 px in a 512 px patch): two nearly empty masks
agree, and a few stray pixels do not make it jump between 0 and 1."""


def dice(a: Mask, b: Mask) -> float:
    """Smoothed Dice of two masks of one shape."""
    smooth = SMOOTHING * a.size
    both, total = np.count_nonzero(a & b), np.count_nonzero(a) + np.count_nonzero(b)
    return float((2 * both + smooth) / (total + smooth))


def _starts(side: int, window: int) -> npt.NDArray[np.intp]:
    """First rows or columns of the windows along ``side``: strides of `STRIDE`, the last one flush."""
    return np.unique([*range(0, side - window + 1, STRIDE), side - window])


def _sums(counts: npt.NDArray[Any], window: int) -> npt.NDArray[np.int64]:
    """(windows, w): of (h, w) ``counts``, the sum over the rows of every window."""
    starts = _starts(len(counts), window)
    edges = np.unique([0, *starts, *(starts + window)])
    until = np.cumsum(np.add.reduceat(counts, edges[:-1], axis=0, dtype=np.int64), axis=0)
    until = np.pad(until, ((1, 0), (0, 0)))
    ends, begins = np.searchsorted(edges, starts + window), np.searchsorted(edges, starts)
    sums: npt.NDArray[np.int64] = until[ends] - until[begins]
    return sums


def _window_sums(mask: Mask, window: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Counts of True in every window, row by row."""
    return _sums(_sums(mask, window[0]).T, window[1]).T


def dice_window_min(reference: Mask, other: Mask) -> float:
    """The lowest smoothed Dice among the windows that hold nuclei in ``reference``; 1 if none does."""
    window = min(WINDOW, reference.shape[0]), min(WINDOW, reference.shape[1])
    area = window[0] * window[1]
    held = _window_sums(reference, window)
    both, found = _window_sums(reference & other, window), _window_sums(other, window)
    smooth = SMOOTHING * area
    scores = (2 * both + smooth) / (held + found + smooth)
    scores = scores[held >= NUCLEI_SHARE * area]
    return float(scores.min()) if scores.size else 1.0


class Measurer:
    """Measures any number of restorations of one original against it.

    ``original`` is (h, w, 3): the valid pixels alone. ``mpp`` is micrometres per pixel. Without a
    ``second`` judge `Fidelity.dice_second` is NaN.
    """

    def __init__(
        self, original: Pixels, mpp: float, judge: Segmenter, second: Segmenter | None = None
    ) -> None:
        self.original = original
        self._mpp = mpp
        self._judge = judge
        self._second = second

    @cached_property
    def _mask(self) -> Mask:
        return self._judge.masks([self.original], self._mpp)[0]

    @cached_property
    def _second_mask(self) -> Mask | None:
        return self._second.masks([self.original], self._mpp)[0] if self._second else None

    @cached_property
    def _structure(self) -> Structure:
        return Structure(self.original, self._ssim_side)

    @property
    def _ssim_side(self) -> int:
        """Of SSIM's windows, px: odd, and none wider than the image."""
        height, width = self.original.shape[:2]
        side: int = min(7, height, width)
        return side - 1 + side % 2

    @cached_property
    def _roots(self) -> Plane:
        return cube_roots(self.original)

    @cached_property
    def _squares(self) -> Plane:
        return squares_of(self.original)

    def measure(self, restored: Pixels) -> Fidelity:
        """All metrics of ``restored``, which has the original's shape."""
        return self.against(restored).fidelity

    def against(self, restored: Pixels) -> "Measured":
        """The same, each metric when it is first asked for: most candidates fail on the first."""
        return Measured(self, restored)

    def masks(self, restored: Pixels) -> tuple[Mask, Mask]:
        """The judge's, of the original and of ``restored``."""
        return self._mask, self._judge.masks([restored], self._mpp)[0]

    def measure_colour(self, restored: Pixels) -> tuple[float, float, float]:
        """(PSNR in dB, mean CIE76 difference, greatest difference of a sample in grey levels)."""
        error = np.abs(restored.astype(np.int16) - self.original)
        mean_square = float(np.mean(np.square(error, dtype=np.float32)))
        psnr = PSNR_IDENTICAL if mean_square == 0 else 10 * np.log10(255**2 / mean_square)
        delta_e = mean_difference(self._roots, restored)
        return float(psnr), delta_e, float(error.max())

    def dice_second(self, restored: Pixels) -> float:
        """By the second judge, NaN without one."""
        if self._second is None or self._second_mask is None:
            return nan
        return dice(self._second_mask, self._second.masks([restored], self._mpp)[0])

    def ssim(self, restored: Pixels) -> float:
        """Wang 2004 with a 7 px uniform window; strips thinner than that are compared whole."""
        if self._ssim_side < 3:
            return 1.0 if np.array_equal(restored, self.original) else 0.0
        return self._structure.similarity(restored)

    def colour_min(self, restored: Pixels) -> float:
        """0 for colours that are 100 and more units of CIE76 apart."""
        return max(0.0, 1 - worst_difference(self._squares, squares_of(restored)) / 100)


class Measured:
    """Metrics of one restored image; `Measurable`. Nothing is measured before it is asked for, or twice."""

    def __init__(self, measurer: Measurer, restored: Pixels) -> None:
        self._measurer = measurer
        self._restored = restored

    @cached_property
    def _is_identical(self) -> bool:
        return np.array_equal(self._restored, self._measurer.original)

    @cached_property
    def _masks(self) -> tuple[Mask, Mask]:
        return self._measurer.masks(self._restored)

    @cached_property
    def dice(self) -> float:
        return 1.0 if self._is_identical else dice(*self._masks)

    @cached_property
    def dice_window_min(self) -> float:
        return 1.0 if self._is_identical else dice_window_min(*self._masks)

    @cached_property
    def ssim(self) -> float:
        return 1.0 if self._is_identical else self._measurer.ssim(self._restored)

    @cached_property
    def dice_second(self) -> float:
        return 1.0 if self._is_identical else self._measurer.dice_second(self._restored)

    @cached_property
    def colour_min(self) -> float:
        return 1.0 if self._is_identical else self._measurer.colour_min(self._restored)

    @property
    def fidelity(self) -> Fidelity:
        """Everything, colour too."""
        if self._is_identical:
            return IDENTICAL
        return Fidelity(
            self.dice,
            self.dice_window_min,
            self.ssim,
            *self._measurer.measure_colour(self._restored),
            self.dice_second,
            self.colour_min,
        )
