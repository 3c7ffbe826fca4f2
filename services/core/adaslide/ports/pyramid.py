"""Writing a slide out as one pyramidal image file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels
from adaslide.ports.slides import EncodedTile


@dataclass(frozen=True, slots=True)
class PyramidFacts:
    """What the file says of its level 0. ``mpp``: micrometres per pixel."""

    size: Size
    mpp: float
    icc: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SourceLayout:
    """Level 0 in the source's own JPEG tiles: squares of ``tile`` px, row by row; None where there is none.

    ``tables`` and ``rgb`` are those of every tile (`EncodedTile`).
    """

    tile: int
    rgb: bool
    tables: bytes = field(repr=False)
    tiles: Callable[[], Iterator[EncodedTile | None]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReducedLevel:
    """A smaller level, whose pixels `read` gives by region."""

    size: Size
    read: Callable[[Region], Pixels] = field(repr=False)


class PyramidWriter(Protocol):
    """Writes a whole file; memory is bounded by rows of tiles, never by the slide.

    Raises `StoreUnavailable` when the file cannot be written, and whatever its sources raise.
    """

    def write_pixels(self, out: Path, facts: PyramidFacts, bands: Iterator[Pixels]) -> None:
        """Encodes ``bands``, each (any height, width, 3), top to bottom, and every level below."""
        ...

    def write_source_tiles(
        self, out: Path, facts: PyramidFacts, layout: SourceLayout, reduced: Sequence[ReducedLevel]
    ) -> int:
        """Lays the source's tiles down byte for byte as level 0, and encodes ``reduced``; returns how many
        tiles there were."""
        ...

    def read(self, path: Path, region: Region) -> Pixels:
        """Level 0 of a written file, decoded as other programs decode it."""
        ...
