"""The clinical policy of a profile: which patches nothing may restore, whatever would be measured."""

from dataclasses import dataclass

from adaslide.domain.rung import RungSpec

SAMPLES_PER_OBJECT = 2.0
"""Stored pixels across the smallest object (Nyquist): what has fewer is guessed, not restored."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Default deny: what the models do not know, and what the caller protects, is kept fine or whole.

    The nets and the judge learned haematoxylin and eosin, in focus. Of anything else a measured Dice means
    little, so that such a patch must also keep ``ssim``.
    """

    object_um: float = 4.0
    """The smallest object that a rung may store, micrometres: at 0.5 micrometres per pixel an x4 image has
    pixels of 2, at which a lymphocyte's nucleus (7) or a mitotic figure (10) is several pixels wide."""
    ssim: float = 0.90
    """The least SSIM of luma of a patch that nothing may restore."""
    foreign: float = 0.2
    """The greatest share of stained pixels of a colour that haematoxylin and eosin cannot give."""
    sharpness: tuple[float, float] = (0.535, 1.2)
    """The least (out of focus) and the greatest (noise) ratio of detail at the finest scale to the next."""

    def stores(self, spec: RungSpec, mpp: float) -> bool:
        """Whether ``spec``'s pixels are small enough for the smallest object."""
        return spec.scale == 1 or spec.scale * mpp * SAMPLES_PER_OBJECT <= self.object_um
