"""Is this what the models learned? Stain and focus of a patch, before anything of it may be restored.

Haematoxylin and eosin both absorb green most: whatever their mixture, of a pixel's optical densities the
green one leads, and blue stays well below it (Ruifrok & Johnston 2001 give 0.65, 0.70, 0.29 and 0.07, 0.99,
0.11). Brown DAB absorbs blue most, ink and print absorb all alike, trichrome's blue absorbs red. Focus is
told by how fast detail fades from one halving of the scale to the next: an image out of focus has little more
at its finest scale than at the one below it can predict.

Distances to the training data in colour and detail together were tried and do not tell (ADR 17).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaslide.domain.decision import PatchFlag
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.policy import Policy
from adaslide.pipeline.tissue import Colour

BLUE_OVER_GREEN, RED_OVER_GREEN = 0.9, 1.15
"""Beyond these ratios of optical density a pixel's colour is none of haematoxylin and eosin."""
STAINED = 0.15
"""Optical density from which a pixel's colour can be told from glass."""
LEAST_STAINED = 0.01
"""Share of a patch below which there is too little stain to judge."""
LEAST_DETAIL = 1.0
"""Standard deviation of luma's detail, grey levels, below which focus cannot be judged."""
SCALE = 0.5
"""Micrometres per pixel at which both are looked at."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Guard:
    """``mpp`` of the slide, micrometres per pixel, and the colour of its ``glass``. Picklable."""

    policy: Policy
    mpp: float
    glass: Colour

    def barred(self, pixels: Pixels) -> PatchFlag:
        """Why nothing of (h, w, 3) ``pixels`` may be restored; `PatchFlag.NONE` where it may."""
        image = shrink(pixels, max(1, round(SCALE / self.mpp)))
        found = PatchFlag.NONE
        share = foreign_share(image, self.glass)
        if share is not None and share > self.policy.foreign:
            found |= PatchFlag.UNKNOWN_STAIN
        ratio = sharpness(image)
        low, high = self.policy.sharpness
        if share is not None and ratio is not None and not low <= ratio <= high:
            found |= PatchFlag.UNKNOWN_FOCUS
        return found

    def of_most(self, patches: Iterable[Pixels]) -> PatchFlag:
        """What bars more than half of ``patches``: then it is the slide, not a place on it."""
        found = [self.barred(pixels) for pixels in patches]
        return PatchFlag(
            sum(flag for flag in PatchFlag if 2 * sum(flag in one for one in found) > max(1, len(found)))
        )


def foreign_share(image: Pixels, glass: Colour) -> float | None:
    """The share of stained pixels of (h, w, 3) ``image`` whose colour is none of haematoxylin and eosin;
    None where too little is stained to tell."""
    small = shrink(image, 2).astype(np.float32)
    density = np.maximum(np.log10((np.array(glass, np.float32) + 1) / (small + 1)), 0)
    red, green, blue = density.transpose(2, 0, 1)
    stained = density.max(axis=2) > STAINED
    count = np.count_nonzero(stained)
    if count < LEAST_STAINED * stained.size:
        return None
    foreign = (blue > BLUE_OVER_GREEN * green) | (red > RED_OVER_GREEN * green)
    return float(np.count_nonzero(foreign & stained) / count)


def sharpness(image: Pixels) -> float | None:
    """How much detail of luma (h, w, 3) ``image`` has at its finest scale, over the next: standard deviations
    of what each halving takes away. White noise gives 2; None where there is none."""
    finest = image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4].astype(np.float32) @ _LUMA
    middle = _halved(finest)
    first, second = _lost(finest, middle), _lost(middle, _halved(middle))
    return first / second if second >= LEAST_DETAIL else None


def _halved(plane: Plane) -> Plane:
    height, width = plane.shape
    mean: Plane = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return mean


def _lost(fine: Plane, coarse: Plane) -> float:
    """The standard deviation of what ``coarse`` does not hold of ``fine``."""
    return float(np.sqrt(max(float(fine.var()) - float(coarse.var()), 0.0))) if fine.size else 0.0
