"""Slides through OpenSlide, in a child process: a crash, a hang or a bomb there is a typed error here."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from adaslide.adapters.child import Child, ChildLimits
from adaslide.adapters.slides.files import digest, readable_file, slide_files
from adaslide.adapters.slides.thumbnails import thumbnail
from adaslide.domain.errors import RegionOutOfRange, SlideCorrupt
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels
from adaslide.domain.slide import SlideFacts, SourceLevel, TileLayout
from adaslide.ports.slides import EncodedTile

_HANDLER = "adaslide.adapters.slides.openslide_source:OpenSlideSource"
_CALL_PIXELS = 1 << 24
_LOST_IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class ReaderLimits:
    """What one slide may cost. The memory is address space of the child beyond its libraries."""

    memory_bytes: int = 2 << 30
    timeout: float = 60.0
    """Seconds for one call to the child, which reads 16 megapixels at most."""
    max_pixels: int = 400_000_000_000
    """Level 0 of a larger slide raises `SlideTooLarge`."""
    min_side: int = 64
    """A shorter side raises `SlideUnsupported`."""
    max_tile_side: int = 4096
    """Source tiles of a larger area raise `SlideTooLarge`: one tile is decoded as a whole."""


class ChildSlideReader:
    """`SlideReader` and `SourceTiles` over one child process that has the slide open.

    The child starts here, is replaced after a crash or a hang (which raises `SlideCorrupt`), and
    ends with `close`, with the reader, and with this process. Raises `NotFound`, `SlideUnsupported`,
    `SlideCorrupt` or `SlideTooLarge`; no message holds the path.
    """

    def __init__(self, path: Path, limits: ReaderLimits | None = None) -> None:
        limits = limits or ReaderLimits()
        self._path = path
        readable_file(path)
        self._child = Child(
            _HANDLER,
            {
                "path": str(path),
                "max_pixels": limits.max_pixels,
                "min_side": limits.min_side,
                "max_tile_side": limits.max_tile_side,
            },
            ChildLimits(limits.memory_bytes, limits.timeout, reply_bytes=3 * _CALL_PIXELS + (1 << 20)),
        )
        self._description, icc = self._child.call("describe")
        self._icc = bytes(icc) or None
        self._levels = tuple(
            SourceLevel(Size(width, height), downsample)
            for width, height, downsample in self._description["levels"]
        )

    @cached_property
    def facts(self) -> SlideFacts:
        """Digests the whole file when first asked for."""
        source_bytes, sha256 = digest(slide_files(self._path))
        about = self._description
        return SlideFacts(
            size=self._levels[0].size,
            levels=self._levels,
            vendor=about["vendor"],
            mpp=about["mpp"],
            objective=about["objective"],
            icc=self._icc,
            tiles=TileLayout(*about["tiles"]) if about["tiles"] else None,
            source_bytes=source_bytes,
            source_sha256=sha256,
        )

    def read(self, region: Region, level: int = 0) -> Pixels:
        """(height, width, 3); the slide's transparent places have its background colour, else white."""
        if not (0 <= level < len(self._levels) and region.inside(self._levels[level].size)):
            raise RegionOutOfRange(f"{region} is not inside level {level}")
        strips = [self._read(strip, level) for strip in _strips(region)]
        return strips[0] if len(strips) == 1 else np.concatenate(strips)

    def thumbnail(self, max_side: int) -> Pixels:
        """Places that cannot be read are mid-grey; a slide that keeps killing its reader raises."""
        allowed = self._child.starts + _LOST_IN_A_ROW

        def read(region: Region, level: int) -> Pixels:
            if self._child.starts > allowed:
                raise _GaveUp
            return self.read(region, level)

        try:
            return thumbnail(self._levels, read, max_side)
        except _GaveUp:
            raise SlideCorrupt("the slide crashes its reader or makes it hang, again and again") from None

    def tile(self, row: int, col: int) -> EncodedTile | None:
        header, block = self._child.call("tile", row=row, col=col)
        if header.get("absent"):
            return None
        data, tables = bytes(block), int(header["tables"])
        return EncodedTile(data[tables:], data[:tables], bool(header["rgb"]))

    @property
    def child_pid(self) -> int | None:
        """The child's process id, None while there is none."""
        return self._child.pid

    def close(self) -> None:
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, region: Region, level: int) -> Pixels:
        _, block = self._child.call(
            "read", x=region.x, y=region.y, width=region.width, height=region.height, level=level
        )
        if len(block) != 3 * region.width * region.height:
            raise SlideCorrupt("the slide's reader returned another number of pixels")
        return np.frombuffer(block, np.uint8).reshape(region.height, region.width, 3)


class _GaveUp(Exception):
    """Leaves the loop over a thumbnail's blocks."""


def _strips(region: Region) -> Iterator[Region]:
    """The region in rows of at most `_CALL_PIXELS`, so that the child's memory does not depend on it."""
    rows = max(1, _CALL_PIXELS // region.width)
    for top in range(region.y, region.bottom, rows):
        yield Region(region.x, top, region.width, min(rows, region.bottom - top))
