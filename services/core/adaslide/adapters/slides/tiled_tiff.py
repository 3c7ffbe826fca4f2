"""Any slide as a pyramidal BigTIFF of JPEG tiles, streamed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import tifffile

from adaslide.domain.geometry import Region
from adaslide.ports.slides import SlideReader


def write_tiled_tiff(reader: SlideReader, path: Path, tile: int = 256, quality: int = 80) -> None:
    """Writes every level of ``reader``; memory holds one row of tiles of one level.

    ``tile`` is a multiple of 16; ``quality`` is JPEG's 0-100, with 4:2:0 chroma.
    """
    facts = reader.facts
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for index, level in enumerate(facts.levels):
            tiff.write(
                _tiles(reader, index, tile, quality),
                shape=(level.size.height, level.size.width, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                tile=(tile, tile),
                subfiletype=1 if index else 0,
                resolution=None if facts.mpp is None else (1e4 / (facts.mpp * level.downsample),) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
                software="AdaSlide",
            )


def _tiles(reader: SlideReader, level: int, tile: int, quality: int) -> Iterator[bytes]:
    size = reader.facts.levels[level].size
    for top in range(0, size.height, tile):
        height = min(tile, size.height - top)
        row = reader.read(Region(0, top, size.width, height), level)
        # Edge tiles are full tiles in TIFF: repeat the edge, which JPEG codes cheaply.
        row = np.pad(row, ((0, tile - height), (0, -size.width % tile), (0, 0)), mode="edge")
        for left in range(0, size.width, tile):
            block = np.ascontiguousarray(row[:, left : left + tile])
            yield simplejpeg.encode_jpeg(block, quality=quality, colorspace="RGB", colorsubsampling="420")
