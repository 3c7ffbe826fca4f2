"""Reading a slide: pixels, and the source's own encoded tiles."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from adaslide.domain.geometry import Region
from adaslide.domain.pixels import Pixels
from adaslide.domain.slide import SlideFacts


@runtime_checkable
class SlideReader(Protocol):
    """An open slide. Not safe for use by two threads at once.

    Label, macro and thumbnail images never leave a reader, nor do properties that may name a patient.
    """

    @property
    def facts(self) -> SlideFacts: ...

    def read(self, region: Region, level: int = 0) -> Pixels:
        """Pixels of ``region``, which lies inside the level, in that level's own pixels.

        Raises `SlideCorrupt` when any of them cannot be read (the reader stays usable),
        `RegionOutOfRange` when the region leaves the level.
        """
        ...

    def thumbnail(self, max_side: int) -> Pixels:
        """The whole slide, its longer side at most ``max_side`` px, from the nearest larger level."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class EncodedTile:
    """One JPEG tile of the source, exactly as it stands in the file.

    ``data`` may be an abbreviated stream (ISO 10918-1 B.4): then ``tables`` is the level's own
    tables-only stream (SOI .. EOI), else it is empty. ``rgb`` says that the components are RGB
    although the stream does not (TIFF photometric 2 without an Adobe marker: a known trap).
    """

    data: bytes
    tables: bytes
    rgb: bool


@runtime_checkable
class SourceTiles(Protocol):
    """The optional ability of a `SlideReader` whose ``facts.tiles`` is not None."""

    def tile(self, row: int, col: int) -> EncodedTile | None:
        """The level-0 tile, or None where the file holds none (sparse). Raises `SlideCorrupt`."""
        ...
