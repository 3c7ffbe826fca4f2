"""A judge that needs no training: colour deconvolution and Otsu's threshold.

Crude (it finds dark haematoxylin, not nuclei one by one), but nothing in the product was chosen to
please it. Ruifrok & Johnston 2001 (stain vectors), Otsu 1979.
"""

import numpy as np
import numpy.typing as npt

from adaslide.domain.otsu import otsu_threshold
from adaslide.domain.pixels import Mask, Pixels
from adaslide.domain.smoothing import smoothed

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical densities in red, green and blue of haematoxylin, eosin and DAB."""
HAEMATOXYLIN: npt.NDArray[np.float32] = np.linalg.inv(STAINS)[:, 0].astype(np.float32)
OPTICAL_DENSITY: npt.NDArray[np.float32] = -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)

THRESHOLD_RANGE = (0.25, 0.60)
"""Haematoxylin density. Otsu splits anything, glass noise too: below the lower end nothing stained
is a nucleus, above the upper end everything is. On the sample slide tissue gives 0.27 - 0.54."""

SMOOTHING_UM = 0.5
"""Standard deviation of the smoothing, micrometres: half a chromatin clump, not scanner noise."""


class OtsuSegmenter:
    """See the module; `Segmenter`."""

    name = "otsu-haematoxylin@1"

    def masks(self, images: list[Pixels], mpp: float) -> list[Mask]:
        """Scale enters through the smoothing alone, so that every ``mpp`` is accepted."""
        return [self._mask(image, SMOOTHING_UM / mpp) for image in images]

    def _mask(self, image: Pixels, sigma: float) -> Mask:
        density = smoothed(np.take(OPTICAL_DENSITY, image) @ HAEMATOXYLIN, sigma)
        low, high = THRESHOLD_RANGE
        mask: Mask = density > np.float32(np.clip(otsu_threshold(density), low, high))
        return mask
