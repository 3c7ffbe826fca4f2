"""The judge: what makes two masks of nuclei out of an original and a restored patch."""

from typing import Protocol

from adaslide.domain.pixels import Mask, Pixels


class Segmenter(Protocol):
    """Finds nuclei. Stateless and picklable, so that worker processes can carry one."""

    @property
    def name(self) -> str:
        """Stands in the package beside what it measured."""
        ...

    def masks(self, images: list[Pixels], mpp: float) -> list[Mask]:
        """One mask per image, True on nuclei; ``mpp`` is micrometres per pixel of all of them.

        Raises `InputError` for a scale the judge does not know.
        """
        ...
