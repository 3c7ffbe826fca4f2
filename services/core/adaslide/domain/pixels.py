"""The array types that travel between the parts, and the ways to shrink them.

A sum over an axis as short as a block keeps numpy in its outer loop: whole rows and columns are added
instead, which takes far less time.
"""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, RGB in the slide's own colour space (the ICC profile travels apart)."""

Mask = npt.NDArray[np.bool_]
"""(height, width) bool."""

Plane = npt.NDArray[np.float32]
"""(height, width) float32."""

LUMA: npt.NDArray[np.float32] = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""

Sums = npt.NDArray[np.uint16 | np.uint32]

_MOST_16_BIT = 16
"""The greatest factor whose blocks of 255s, and half their area, add up to less than 2 ** 16."""


def pad_to(pixels: Pixels, height: int, width: int) -> Pixels:
    """``pixels`` with its last row and column repeated up to (height, width)."""
    missing = (0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)
    return np.pad(pixels, missing, mode="edge") if any(m[1] for m in missing) else pixels


def block_sums(pixels: Pixels, factor: int) -> Sums:
    """(rows, cols, 3): the sums over ``factor`` x ``factor`` blocks; ragged edges are repeated first."""
    rows, cols = (-(-side // factor) for side in pixels.shape[:2])
    dtype: type[np.uint16 | np.uint32] = np.uint16 if factor <= _MOST_16_BIT else np.uint32
    lines = pad_to(pixels, rows * factor, cols * factor).reshape(rows, factor, 3 * factor * cols)
    tall = np.zeros((rows, 3 * factor * cols), dtype)
    for line in range(factor):
        tall += lines[:, line]
    sums = np.zeros((rows, 3 * cols), dtype)
    for sample in range(3 * factor):
        sums[:, sample % 3 :: 3] += tall[:, sample :: 3 * factor]
    return sums.reshape(rows, cols, 3)


def shrink(pixels: Pixels, factor: int) -> Pixels:
    """The mean over ``factor`` x ``factor`` blocks, rounded half up; ragged edges are repeated first.

    The one degradation of low-resolution rungs, previews and overviews (and, later, of training).
    """
    if factor == 1:
        return pixels
    area = factor * factor
    means = block_sums(pixels, factor)
    means += area // 2
    means //= area
    return means.astype(np.uint8)


def halved(plane: Plane) -> Plane:
    """(h / 2, w / 2): the mean over 2 x 2 blocks of ``plane``, whose sides are even."""
    sums = plane[0::2, 0::2] + plane[0::2, 1::2]
    sums += plane[1::2, 0::2] + plane[1::2, 1::2]
    sums *= np.float32(0.25)
    return sums
