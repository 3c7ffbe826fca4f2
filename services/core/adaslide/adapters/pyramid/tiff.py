"""Pyramidal tiled BigTIFF, as OpenSlide, QuPath and libvips read it.

TIFF 6.0 with Technical Note 2 (JPEG, compression 7) and BigTIFF (Aldus; Adobe).
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
import tifffile

from adaslide.adapters.pyramid.png_stream import png_stream
from adaslide.domain.errors import PackageError, StoreUnavailable
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels, pad_to
from adaslide.ports.pyramid import PyramidFacts, ReducedLevel, SourceLayout

TILE = 512
SMALL_TILE = 256
"""For an image that fits into one: libvips refuses to read 1 x 1 px back out of a tile of 512."""
QUALITY = 90
"""JPEG quality of what is encoded here; libvips keeps full chroma from 90 up."""

_SUBSAMPLINGS = {(1, 1), (2, 1), (2, 2), (4, 1)}
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class TiffPyramidWriter:
    """A `PyramidWriter`. Stateless."""

    def write_pixels(self, out: Path, facts: PyramidFacts, bands: Iterator[Pixels]) -> None:
        stream = _Stream(png_stream(facts.size, bands))
        source = pyvips.SourceCustom()
        source.on_read(stream.read)
        per_mm = 1000 / facts.mpp
        tile = TILE if max(facts.size.width, facts.size.height) > SMALL_TILE else SMALL_TILE
        try:
            image = pyvips.Image.new_from_source(source, "", access="sequential", unlimited=True)
            image = image.copy(xres=per_mm, yres=per_mm)
            if facts.icc:
                image.set_type(pyvips.GValue.blob_type, "icc-profile-data", facts.icc)
            image.tiffsave(
                str(out),
                tile=True,
                tile_width=tile,
                tile_height=tile,
                pyramid=True,
                region_shrink="mean",
                bigtiff=True,
                compression="jpeg",
                Q=QUALITY,
                resunit="cm",
                keep="icc",
            )
        except pyvips.Error as error:
            if stream.failure is not None:
                raise stream.failure from None
            raise StoreUnavailable("the TIFF cannot be written") from error
        if stream.failure is not None:
            raise stream.failure

    def write_source_tiles(
        self, out: Path, facts: PyramidFacts, layout: SourceLayout, reduced: Sequence[ReducedLevel]
    ) -> int:
        # Of the first tile that states one: a damaged tile is kept as well, and may not.
        found = (_sampling(tile.data) for tile in layout.tiles() if tile is not None)
        sampling = next((factors for factors in found if factors in _SUBSAMPLINGS), None)
        if sampling is None:
            raise PackageError("no source tile whose sampling a TIFF can state")
        written = 0

        def level_0() -> Iterator[bytes]:
            nonlocal written
            for tile in layout.tiles():
                written += tile is not None
                yield b"" if tile is None else tile.data

        try:
            with tifffile.TiffWriter(out, bigtiff=True) as tiff:
                tiff.write(
                    level_0(),
                    shape=(facts.size.height, facts.size.width, 3),
                    dtype=np.uint8,
                    tile=(layout.tile, layout.tile),
                    compression="jpeg",
                    # The tiles are bytes already; these only name the tags they need.
                    photometric="rgb",
                    compressionargs={"outcolorspace": "RGB" if layout.rgb else "YCBCR"},
                    subsampling=sampling,
                    jpegtables=layout.tables or None,
                    **_tags(facts, 1),
                )
                for level in reduced:
                    factor = facts.size.width / level.size.width
                    tiff.write(
                        _encoded_tiles(level),
                        shape=(level.size.height, level.size.width, 3),
                        dtype=np.uint8,
                        tile=(TILE, TILE),
                        compression="jpeg",
                        photometric="rgb",
                        compressionargs={"level": QUALITY},
                        subsampling=(1, 1),
                        subfiletype=1,
                        **_tags(facts, factor),
                    )
        except OSError as error:
            raise StoreUnavailable("the TIFF cannot be written") from error
        return written

    def read(self, path: Path, region: Region) -> Pixels:
        try:
            image = pyvips.Image.new_from_file(str(path))
            pixels: Pixels = image.crop(region.x, region.y, region.width, region.height).numpy()
        except pyvips.Error as error:
            raise StoreUnavailable("the TIFF that was written cannot be read back") from error
        return pixels


class _Stream:
    """Hands an iterator's bytes to libvips, and keeps what the iterator raised: a callback cannot raise."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._lock = threading.Lock()
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        with self._lock:
            try:
                while not self._rest:
                    self._rest = memoryview(next(self._pieces))
            except StopIteration:
                return b""
            except BaseException as error:
                self.failure = error
                return b""
            data, self._rest = bytes(self._rest[:size]), self._rest[size:]
            return data


def _tags(facts: PyramidFacts, factor: float) -> dict[str, Any]:
    per_cm = 10_000 / (facts.mpp * factor)
    return {
        "resolution": (per_cm, per_cm),
        "resolutionunit": "CENTIMETER",
        "iccprofile": facts.icc,
        "metadata": None,
        "software": "AdaSlide",
    }


def _encoded_tiles(level: ReducedLevel) -> Iterator[Pixels]:
    size: Size = level.size
    for y in range(0, size.height, TILE):
        height = min(TILE, size.height - y)
        for x in range(0, size.width, TILE):
            pixels = level.read(Region(x, y, min(TILE, size.width - x), height))
            yield pad_to(pixels, TILE, TILE)


def _sampling(jpeg: bytes) -> tuple[int, int] | None:
    """The luma's sampling factors relative to the chroma's, from the frame header (T.81 B.2.2)."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker in _SOF:
            components = jpeg[at + 10 : at + 2 + length]
            if len(components) != 9:
                return None
            luma, chroma = components[1], components[4]
            return (luma >> 4) // max(1, chroma >> 4), (luma & 15) // max(1, chroma & 15)
        at += 2 + length
    return None
