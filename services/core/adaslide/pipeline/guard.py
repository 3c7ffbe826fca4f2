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
from functools import lru_cache

import numpy as np
from PIL import Image

from adaslide.domain.decision import PatchFlag
from adaslide.domain.pixels import LUMA, Pixels, Plane, halved, shrink
from adaslide.domain.policy import Policy
from adaslide.pipeline.glass import Colour

BLUE_OVER_GREEN, RED_OVER_GREEN = 0.9, 1.15
"""Beyond these ratios of optical density a pixel's colour is none of haematoxylin and eosin."""
STAINED = 0.15
"""Optical density from which a pixel's colour can be told from glass."""
LEAST_STAINED = 0.01
"""Share of a patch below which there is too little stain to judge."""
MUCH_STAINED = 0.2
"""Share of a patch from which on tissue without any detail is out of focus, and no pale edge."""
LEAST_DETAIL = 1.0
"""Standard deviation of luma's detail, grey levels, below which its ratio tells nothing."""
LEAST_SIDE = 32
"""px at `SCALE` of a strip at the slide's edge that is too narrow to miss detail in."""
NEAR = 0.15
"""A scale this close to `SCALE`, relatively, is taken as it is."""
SCALE = 0.5
"""Micrometres per pixel at which both are looked at."""


@dataclass(frozen=True, slots=True)
class Guard:
    """``mpp`` of the slide, micrometres per pixel, and the colour of its ``glass``. Picklable."""

    policy: Policy
    mpp: float
    glass: Colour

    def barred(self, pixels: Pixels) -> PatchFlag:
        """Why nothing of (h, w, 3) ``pixels`` may be restored; `PatchFlag.NONE` where it may."""
        image = at_scale(pixels, self.mpp)
        stained, foreign = stains(image, self.glass)
        if stained < LEAST_STAINED:
            return PatchFlag.NONE
        found = PatchFlag.UNKNOWN_STAIN if foreign > self.policy.foreign else PatchFlag.NONE
        ratio, (low, high) = sharpness(image), self.policy.sharpness
        is_flat = ratio is None and stained > MUCH_STAINED and min(image.shape[:2]) >= LEAST_SIDE
        if is_flat or (ratio is not None and not low <= ratio <= high):
            found |= PatchFlag.UNKNOWN_FOCUS
        return found

    def of_most(self, patches: Iterable[Pixels]) -> PatchFlag:
        """What bars more than half of ``patches``: then it is the slide, not a place on it."""
        found = [self.barred(pixels) for pixels in patches]
        return PatchFlag(
            sum(flag for flag in PatchFlag if 2 * sum(flag in one for one in found) > max(1, len(found)))
        )


def at_scale(pixels: Pixels, mpp: float) -> Pixels:
    """(h, w, 3) ``pixels`` of ``mpp`` micrometres per pixel at about `SCALE`; coarser ones as they are."""
    factor = SCALE / mpp
    whole = max(1, round(factor))
    if factor < 1 or abs(factor / whole - 1) <= NEAR:
        return shrink(pixels, whole)
    height, width = (max(1, round(side / factor)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def stains(image: Pixels, glass: Colour) -> tuple[float, float]:
    """Of (h, w, 3) ``image``, the share of pixels that are stained; and of those, the share whose colour is
    none of haematoxylin and eosin."""
    small = shrink(image, 2)
    red, green, blue = (densities[small[..., channel]] for channel, densities in enumerate(_densities(glass)))
    stained = np.maximum(np.maximum(red, green), blue) > STAINED
    foreign = stained & ((blue > BLUE_OVER_GREEN * green) | (red > RED_OVER_GREEN * green))
    count = int(np.count_nonzero(stained))
    return count / stained.size, int(np.count_nonzero(foreign)) / max(1, count)


@lru_cache
def _densities(glass: Colour) -> Plane:
    """(3, 256) optical density of each sample before ``glass``, none of what is brighter."""
    samples = np.arange(256, dtype=np.float32)
    density: Plane = np.maximum(np.log10((np.array(glass, np.float32)[:, None] + 1) / (samples + 1)), 0)
    return density


def sharpness(image: Pixels) -> float | None:
    """How much detail of luma (h, w, 3) ``image`` has at its finest scale, over the next: standard deviations
    of what each halving takes away. White noise gives 2; None where there is none."""
    finest = image[: image.shape[0] // 4 * 4, : image.shape[1] // 4 * 4] @ LUMA
    middle = halved(finest)
    first, second = _lost(finest, middle), _lost(middle, halved(middle))
    return first / second if second >= LEAST_DETAIL else None


def _lost(fine: Plane, coarse: Plane) -> float:
    """The standard deviation of what ``coarse`` does not hold of ``fine``."""
    return float(np.sqrt(max(float(fine.var()) - float(coarse.var()), 0.0))) if fine.size else 0.0
