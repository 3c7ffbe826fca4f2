"""Otsu's threshold: N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9(1),
1979. The same numbers as scikit-image's, without its import."""

import numpy as np

from adaslide.domain.pixels import Plane

_BINS = 256


def otsu_threshold(plane: Plane) -> float:
    """What parts ``plane`` into the two classes that differ most: the centre of one of 256 bins between its
    least and its greatest value, or the least where float32 knows no 256 values between them."""
    least, most = plane.min(), plane.max()
    if most - least <= _BINS * np.spacing(max(abs(least), abs(most))):
        return float(least)
    counts, edges = np.histogram(plane, _BINS, (least, most))
    counts = counts.astype(np.float32)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = (np.cumsum((counts * centres)[::-1]) / above[::-1])[::-1]
    variance = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centres[variance.argmax()])
