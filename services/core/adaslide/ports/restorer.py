"""The Foundational Image Enhancer's place: low resolution in, full resolution out."""

from typing import Protocol, runtime_checkable

from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Scale


class Restorer(Protocol):
    """Restores a batch; the single patch is a batch of one. Stateless and picklable."""

    @property
    def scale(self) -> Scale:
        """`THREE_QUARTERS`, 2 or 4."""
        ...

    def restore(self, batch: list[Pixels]) -> list[Pixels]:
        """Each (h, w, 3) image as (h * scale, w * scale, 3)."""
        ...


@runtime_checkable
class SupportsBatches(Protocol):
    """The optional ability of a restorer to take less time for images together than for each alone."""

    @property
    def at_once(self) -> int:
        """Images that one call is best given."""
        ...
