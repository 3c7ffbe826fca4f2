"""Pixels as an uncompressed PNG stream: the one sequential format that libvips reads from a callback.

So a slide of any size reaches libvips without a temporary file of raw pixels. PNG: ISO/IEC 15948.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from adaslide.domain.geometry import Size
from adaslide.domain.pixels import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB8 = (8, 2, 0, 0, 0)
"""Bit depth, colour type, compression, filter, interlace."""
_CHUNK_ROWS = 64


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def png_stream(size: Size, bands: Iterator[Pixels]) -> Iterator[bytes]:
    """The stream in pieces. ``bands`` are (any height, width, 3) uint8, top to bottom."""
    yield _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", size.width, size.height, *_RGB8))
    stored = zlib.compressobj(0)
    for band in bands:
        height, width, _ = band.shape
        # Each row begins with its filter, 0: none.
        rows = np.zeros((height, 1 + 3 * width), np.uint8)
        rows[:, 1:] = band.reshape(height, 3 * width)
        for top in range(0, height, _CHUNK_ROWS):
            yield _chunk(b"IDAT", stored.compress(rows[top : top + _CHUNK_ROWS].tobytes()))
    yield _chunk(b"IDAT", stored.flush()) + _chunk(b"IEND", b"")
