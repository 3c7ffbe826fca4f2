"""Do the borders of patches show? Each patch is coded and restored alone, and only its own pixels are seen.

What the eye finds is a step of brightness along a border that the original has not, and the same way over
some length: noise it does not. So errors of the step from one pixel to the next are averaged along runs of
the border, and compared with the same errors within patches, where nothing could show a seam.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adaslide.domain.pixels import LUMA, Pixels

RUN = 16
"""px along a border that are averaged: about a nucleus at 0.5 um per pixel."""
INNER = 32
"""px from the nearest border from which on a step counts as one within a patch."""

Steps = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Seams:
    """Root mean squares, in grey levels of luma, of the errors of steps averaged over runs: across the
    borders of patches, and within patches."""

    border: float
    within: float

    @property
    def ratio(self) -> float:
        """1 where a border is like any other place."""
        return self.border / self.within


def seams(original: Pixels, stored: Pixels, patch: int) -> Seams:
    """Of (h, w, 3) ``original`` and ``stored``, whose patches of ``patch`` px begin at the corner.

    Raises `ValueError` where the images differ in shape, or hold no border with `RUN` pixels.
    """
    if original.shape != stored.shape or max(original.shape[:2]) <= patch or min(original.shape[:2]) < RUN:
        raise ValueError("seams need two images of one shape, larger than a patch")
    error = stored @ LUMA - original @ LUMA
    border, within = zip(*(_of_columns(plane, patch) for plane in (error, error.T)), strict=True)
    return Seams(_root_mean_square(border), _root_mean_square(within))


def _of_columns(error: Steps, patch: int) -> tuple[Steps, Steps]:
    """The steps between neighbouring columns, averaged along runs: those across borders, those within."""
    rows = len(error) // RUN * RUN
    steps = np.diff(error[:rows], axis=1).reshape(rows // RUN, RUN, -1).mean(axis=1)
    after = np.arange(1, error.shape[1]) % patch
    return steps[:, after == 0], steps[:, np.minimum(after, patch - after) >= INNER]


def _root_mean_square(parts: tuple[Steps, ...]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([part.ravel() for part in parts]) ** 2)))
