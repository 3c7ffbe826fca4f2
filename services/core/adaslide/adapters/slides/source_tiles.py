"""The source's own encoded JPEG tiles, as they stand in a TIFF file. Runs inside the reader's child.

Found through tifffile in Aperio SVS, generic tiled TIFF and BigTIFF, and in any vendor's TIFF whose
full-resolution page is the slide's level 0 as it stands: the sizes agree and tiles taken as a sample
decode to exactly the pixels that OpenSlide returns at their place. That last test leaves out, whatever
the vendor, files with overlapping, reordered or shifted tiles (Ventana, Trestle, cropped Philips).
DICOM frames are not offered: parsing DICOM would take a dependency the product does not have.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
import tifffile

from adaslide.domain.errors import SlideCorrupt
from adaslide.domain.pixels import Pixels
from adaslide.ports.slides import EncodedTile

ReadPixels = Callable[[int, int, int, int], Pixels]
"""(x, y, width, height) at level 0 to (height, width, 3)."""

_JPEG, _RGB, _YCBCR, _CONTIGUOUS = 7, 2, 6, 1
_SAMPLES = 4
_NOT_FRAMES = {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range of the SOF markers
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


class TiffTiles:
    """The square 8-bit three-component JPEG tiles of one TIFF page."""

    def __init__(self, file: BinaryIO, page: tifffile.TiffPage) -> None:
        self.tile: int = page.tilewidth
        self.cols: int = -(-page.imagewidth // self.tile)
        self.rows: int = -(-page.imagelength // self.tile)
        self.total_bytes = int(sum(page.databytecounts))
        self._file = file
        self._file_bytes = file.seek(0, 2)
        self._offsets: tuple[int, ...] = page.dataoffsets
        self._counts: tuple[int, ...] = page.databytecounts
        self._tables = bytes(page.jpegtables or b"")
        self._rgb = page.photometric == _RGB
        # JPEG never needs more than its pixels by far: a longer tile is a lie.
        self._longest = 4 * self.tile**2 + 65536

    @classmethod
    def find(cls, path: Path, size: tuple[int, int], read: ReadPixels) -> "TiffTiles | None":
        """The tiles of level 0, None where the file has none that could be kept as they stand.

        ``size`` is (width, height) of level 0 and ``read`` its pixels, for the sample that is compared.
        """
        file = path.open("rb")
        try:
            page = _page_of_size(file, size)
            tiles = None if page is None else cls(file, page)
            if tiles is not None and tiles._agrees_with(read, size):
                return tiles
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    def tile_at(self, row: int, col: int) -> EncodedTile | None:
        """The tile's bytes, None where the file holds none. Raises `SlideCorrupt`, before anything is
        decoded, for a tile outside the file or one whose own header contradicts the file's."""
        index = row * self.cols + col
        offset, count = self._offsets[index], self._counts[index]
        if count == 0:
            return None
        if offset + count > self._file_bytes or count > self._longest:
            raise SlideCorrupt(f"tile {row}, {col} lies outside the file")
        self._file.seek(offset)
        data = self._file.read(count)
        if _frame_of(data) != (8, self.tile, self.tile, 3):
            raise SlideCorrupt(f"tile {row}, {col} is not the JPEG tile that the file declares")
        return EncodedTile(data, self._tables, self._rgb)

    def _agrees_with(self, read: ReadPixels, size: tuple[int, int]) -> bool:
        """Whether tiles from several places decode to the slide's pixels; damaged ones are passed over."""
        agreed = 0
        stored = [index for index, count in enumerate(self._counts) if count]
        for index in stored[:: max(1, len(stored) // (4 * _SAMPLES))]:
            row, col = divmod(index, self.cols)
            x, y = col * self.tile, row * self.tile
            width, height = min(self.tile, size[0] - x), min(self.tile, size[1] - y)
            try:
                tile = self.tile_at(row, col)
                expected = read(x, y, width, height)
                decoded = None if tile is None else _decode(tile)
            except (SlideCorrupt, imagecodecs.Jpeg8Error):
                continue
            if decoded is None or not np.array_equal(decoded[:height, :width], expected):
                return False
            agreed += 1
            if agreed == _SAMPLES:
                break
        return agreed > 0


def _page_of_size(file: BinaryIO, size: tuple[int, int]) -> tifffile.TiffPage | None:
    """The first page of ``size``, when its tiles could be kept. None also where tifffile finds no TIFF.

    Raises `SlideCorrupt` for a page that lists fewer tiles than it declares.
    """
    try:
        pages = (page for page in tifffile.TiffFile(file).pages if isinstance(page, tifffile.TiffPage))
        page = next((page for page in pages if (page.imagewidth, page.imagelength) == size), None)
    except (tifffile.TiffFileError, struct.error, ValueError, LookupError, TypeError):
        return None  # OpenSlide reads it all the same; its pixels can still be kept
    if page is None or not page.is_tiled:
        return None
    if len(page.dataoffsets) < _tile_count(page):
        # OpenSlide would show the missing entries as empty glass.
        raise SlideCorrupt("the file declares more tiles than it lists")
    return page if _keepable(page) else None


def _keepable(page: tifffile.TiffPage) -> bool:
    return bool(
        page.compression == _JPEG
        and page.tilewidth == page.tilelength
        and page.tiledepth == 1
        and page.bitspersample == 8
        and page.samplesperpixel == 3
        and page.planarconfig == _CONTIGUOUS
        and page.photometric in (_RGB, _YCBCR)
        and len(page.dataoffsets) == len(page.databytecounts) == _tile_count(page)
    )


def _tile_count(page: tifffile.TiffPage) -> int:
    cols = -(-page.imagewidth // max(1, page.tilewidth))
    return cols * -(-page.imagelength // max(1, page.tilelength))


def _decode(tile: EncodedTile) -> Pixels:
    decoded: Pixels = imagecodecs.jpeg8_decode(
        tile.data,
        tables=tile.tables or None,
        colorspace="RGB" if tile.rgb else "YCBCR",
        outcolorspace="RGB",
    )
    return decoded


def _frame_of(data: bytes) -> tuple[int, int, int, int] | None:
    """(bits, height, width, components) of a JPEG's frame header, None where there is none."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
        elif 0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES:
            if at + 10 > len(data):
                return None
            bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            return bits, height, width, components
        elif marker == 0xDA:
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
