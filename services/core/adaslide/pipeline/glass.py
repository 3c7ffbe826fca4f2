"""What may be called background: pixels of glass, nearly constant at full resolution.

Two tests of different kinds stand before a patch may be dropped, and both must agree: no tissue in the
thumbnail (`tissue.tissue_mask`) and this one. Pale fat, mucus and small fragments escape the first; the
second keeps them.
"""

import numpy as np

from adaslide.domain.pixels import LUMA, Pixels, block_sums

Colour = tuple[int, int, int]

DEFAULT_GLASS: Colour = (242, 242, 242)
"""Assumed where a slide shows no glass at all."""


# Limits of a constant patch, in grey levels, on means of 4 x 4 px (which take the camera's noise away).
_CELL, _BLOCK_CELLS = 4, 8
_BLOCK_DEVIATION = 2.0
_BLOCK_MEANS = 3.0
_FROM_GLASS = 4.0
_CELL_FROM_MEAN = 12.0
_CHROMA_RANGE = 12.0


def is_constant(patch_pixels: Pixels, glass: Colour) -> bool:
    """Whether a patch is glass of that colour, so that one colour loses nothing but camera noise.

    Judged by its worst place: the standard deviation in each block of 32 px, the blocks' means
    against each other, the mean against ``glass``, the farthest mean of 4 px, and the range of chroma.
    """
    height, width = patch_pixels.shape[:2]
    side = _CELL * _BLOCK_CELLS
    # The edge is repeated so that a narrow last column is judged like any other.
    padded = np.pad(patch_pixels, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    cells = block_sums(padded, _CELL).astype(np.float32) / _CELL**2
    rows, cols = cells.shape[:2]
    mean = cells.mean(axis=(0, 1))
    if np.abs(mean - glass).max() > _FROM_GLASS or np.abs(cells - mean).max() > _CELL_FROM_MEAN:
        return False
    if np.ptp(np.ptp(cells, axis=2)) > _CHROMA_RANGE:
        return False
    blocks = (cells @ LUMA).reshape(rows // _BLOCK_CELLS, _BLOCK_CELLS, cols // _BLOCK_CELLS, _BLOCK_CELLS)
    return bool(
        blocks.std(axis=(1, 3)).max() <= _BLOCK_DEVIATION and np.ptp(blocks.mean(axis=(1, 3))) <= _BLOCK_MEANS
    )
