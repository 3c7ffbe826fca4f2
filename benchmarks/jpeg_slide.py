"""Slides of pixels that a benchmark or a test has: TIFFs whose tiles are JPEG, as scanners write them."""

from pathlib import Path
from typing import Any

import tifffile

from adaslide.domain.pixels import Pixels, shrink


def write_jpeg_slide(
    path: Path,
    pixels: Pixels,
    *,
    tile: int = 256,
    level: int | None = None,
    shrunk: tuple[int, ...] = (),
    **more: Any,
) -> Path:
    """A tiled TIFF of (h, w, 3) RGB ``pixels``, kept as YCbCr in JPEG of quality ``level``, and of the same
    shrunk by each of ``shrunk``: its pyramid. Gives ``path``.

    ``photometric`` tells tifffile what it is given: with "ycbcr" it would take RGB for YCbCr, and keep other
    colours. ``more`` goes to `tifffile.TiffWriter.write`, with every level.
    """
    jpeg: dict[str, Any] = {"outcolorspace": "YCBCR"}
    if level is not None:
        jpeg["level"] = level
    with tifffile.TiffWriter(path) as slide:
        for factor in (1, *shrunk):
            slide.write(
                pixels if factor == 1 else shrink(pixels, factor),
                photometric="rgb",
                tile=(tile, tile),
                compression="jpeg",
                compressionargs=jpeg,
                subfiletype=int(factor > 1),
                **more,
            )
    return path
