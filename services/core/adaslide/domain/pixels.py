"""The array types that travel between the parts, and the one way to shrink them."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, RGB in the slide's own colour space (the ICC profile travels apart)."""

Mask = npt.NDArray[np.bool_]
"""(height, width) bool."""


def pad_to(pixels: Pixels, height: int, width: int) -> Pixels:
    """``pixels`` with its last row and column repeated up to (height, width)."""
    missing = (0, height - pixels.shape[0]), (0, width - pixels.shape[1]), (0, 0)
    return np.pad(pixels, missing, mode="edge") if any(m[1] for m in missing) else pixels


def shrink(pixels: Pixels, factor: int) -> Pixels:
    """The mean over ``factor`` x ``factor`` blocks, rounded half up; ragged edges are repeated first.

    The one degradation of low-resolution rungs, previews and overviews (and, later, of training).
    """
    if factor == 1:
        return pixels
    rows, cols = (-(-side // factor) for side in pixels.shape[:2])
    blocks = pad_to(pixels, rows * factor, cols * factor).reshape(rows, factor, cols, factor, 3)
    area = factor * factor
    mean: Pixels = ((blocks.sum(axis=(1, 3), dtype=np.uint32) + area // 2) // area).astype(np.uint8)
    return mean
