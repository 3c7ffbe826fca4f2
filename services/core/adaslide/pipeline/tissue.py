"""Where the tissue of a slide is. Pure functions of its thumbnail.

What is no tissue here may still not be dropped unless `glass.is_constant` agrees.

The mask follows the usual recipe (median blur, then Otsu's threshold on saturation: N. Otsu, "A
threshold selection method from gray-level histograms", IEEE Trans. SMC 9(1), 1979), with the
threshold held near the glass's own colour: Otsu always splits in two, noise when there is only glass
and tissue from tissue when there is no glass.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy import ndimage

from adaslide.domain.geometry import PatchGrid, Size
from adaslide.domain.otsu import otsu_threshold
from adaslide.domain.pixels import LUMA, Mask, Pixels, Plane
from adaslide.pipeline.glass import DEFAULT_GLASS, Colour

_MEDIAN = ImageFilter.MedianFilter(5)

# What glass looks like in a thumbnail: bright, hardly coloured, and flat.
_GLASS_LUMA, _GLASS_CHROMA, _GLASS_GRADIENT = 190.0, 40.0, 3.0
_GLASS_SHARE = 0.002

# How far from the glass's own chroma Otsu may put the threshold, in grey levels; and how much darker
# (or brighter) than glass a pixel is tissue whatever its colour.
_CHROMA_ABOVE_GLASS = (7.0, 20.0)
_LUMA_FROM_GLASS = 7.0

# Specks are dust and noise, holes are nuclei-poor stroma; in px of the thumbnail.
_SPECK, _HOLE = 6, 64


@dataclass(frozen=True, slots=True)
class _Glass:
    """Glass as the thumbnail shows it: luma and chroma with their spread, in grey levels."""

    luma: float
    chroma: float
    luma_spread: float
    chroma_spread: float


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """Luma and chroma (greatest minus least sample) of (h, w, 3) ``pixels``, each after a median blur.

    Chroma stands for saturation: it is saturation times brightness, and unlike saturation does not
    explode in the dark.
    """

    pixels: Pixels
    luma: Plane
    chroma: Plane

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        return cls(pixels, _blurred(np.rint(pixels @ LUMA)), _blurred(np.ptp(pixels, axis=2)))


def tissue_mask(thumbnail: Thumbnail) -> Mask:
    """True on tissue (and on ink and larger dirt: whatever is not glass); (h, w) as the thumbnail."""
    luma, chroma = thumbnail.luma, thumbnail.chroma
    glass = _glass(luma, chroma)
    if glass is None:
        return np.ones(luma.shape, np.bool_)
    least, most = _CHROMA_ABOVE_GLASS
    low = glass.chroma + max(least, 4 * glass.chroma_spread)
    high = max(low, glass.chroma + most)
    coloured = chroma > np.clip(otsu_threshold(chroma), low, high)
    unlike = np.abs(luma - glass.luma) > max(_LUMA_FROM_GLASS, 4 * glass.luma_spread)
    mask: Mask = coloured | unlike
    mask = _without_small(mask, _SPECK)
    return ~_without_small(~mask, _HOLE)


def glass_colour(thumbnail: Thumbnail, mask: Mask) -> Colour:
    """The colour of this slide's glass: the median of each sample over bright pixels of little colour away
    from tissue, or beside it where these are few; `DEFAULT_GLASS` where there are none.
    """
    luma, chroma = thumbnail.luma, thumbnail.chroma
    away = ~ndimage.binary_dilation(mask, iterations=2)
    flat = away & (luma > _GLASS_LUMA) & (chroma < _GLASS_CHROMA)
    if flat.mean() < _GLASS_SHARE:
        flat = ~mask & (luma > _GLASS_LUMA)
    if not flat.any():
        return DEFAULT_GLASS
    red, green, blue = (round(float(sample)) for sample in np.median(thumbnail.pixels[flat], axis=0))
    return red, green, blue


def tissue_fraction(mask: Mask, size: Size, patch: int) -> npt.NDArray[np.float32]:
    """The share of tissue, 0-1, in each patch of a slide of ``size``: (rows, cols) of its grid.

    Exact areas: a mask pixel that lies across a patch's border counts with its part inside. Patches
    at the right and lower edge are measured where there is slide.
    """
    grid = PatchGrid(size, patch)
    ys = np.minimum(np.arange(grid.rows + 1) * patch, size.height) * (mask.shape[0] / size.height)
    xs = np.minimum(np.arange(grid.cols + 1) * patch, size.width) * (mask.shape[1] / size.width)
    area = np.pad(np.cumsum(np.cumsum(mask, axis=0, dtype=np.float64), axis=1), ((1, 0), (1, 0)))
    corners = _interpolated(_interpolated(area, ys).T, xs).T
    inside = np.diff(np.diff(corners, axis=0), axis=1)
    share = inside / np.outer(np.diff(ys), np.diff(xs))
    return np.clip(share, 0, 1).astype(np.float32)


def _blurred(levels: npt.NDArray[np.uint8] | Plane) -> Plane:
    blurred = Image.fromarray(levels.astype(np.uint8)).filter(_MEDIAN)
    return np.asarray(blurred, np.float32)


def _glass(luma: Plane, chroma: Plane) -> _Glass | None:
    """Glass is the brightest of the flat, bright, uncoloured places; None where there are none."""
    gradient = ndimage.maximum_filter(luma, 5) - ndimage.minimum_filter(luma, 5)
    flat = (luma > _GLASS_LUMA) & (chroma < _GLASS_CHROMA) & (gradient <= _GLASS_GRADIENT)
    if flat.mean() < _GLASS_SHARE:
        return None
    lumas, chromas = luma[flat], chroma[flat]
    counts = np.bincount(lumas.astype(np.intp), minlength=257).astype(np.float64)
    counts = ndimage.uniform_filter1d(counts, 3, mode="constant")
    mode = int(np.flatnonzero(counts >= counts.max() / 4)[-1])
    near = np.abs(lumas - mode) <= 4
    lumas, chromas = lumas[near], chromas[near]
    return _Glass(float(np.median(lumas)), float(np.median(chromas)), _spread(lumas), _spread(chromas))


def _spread(values: Plane) -> float:
    """A standard deviation that a few outliers do not move."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _without_small(mask: Mask, area: int) -> Mask:
    """The mask without its pieces (8-connected) of fewer than ``area`` pixels."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep: Mask = sizes >= area
    keep[0] = False
    kept: Mask = keep[labels]
    return kept


def _interpolated(table: npt.NDArray[np.float64], at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows of ``table`` at fractional indices, linear between them, and exact between equal ones: a patch
    without tissue must have a share of 0."""
    low = np.minimum(at.astype(np.intp), table.shape[0] - 2)
    part = (at - low)[:, None]
    rows: npt.NDArray[np.float64] = table[low] + (table[low + 1] - table[low]) * part
    return rows
