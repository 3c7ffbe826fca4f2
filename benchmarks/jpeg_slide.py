"""Slides of pixels that a benchmark or a test has: TIFFs whose tiles are JPEG, as scanners write them."""

from pathlib import Path
from typing import Any

import tifffile

from adaslide.domain.pixels import Pixels


def write_jpeg_slide(
    path: Path, pixels: Pixels, *, tile: int = 256, level: int | None = None, **more: Any
) -> Path:
    """A tiled TIFF of (h, w, 3) RGB ``pixels``, kept as YCbCr in JPEG of quality ``level``. Gives ``path``.

    ``photometric`` tells tifffile what it is given: with "ycbcr" it would take RGB for YCbCr, and keep other
    colours. ``more`` goes to `tifffile.imwrite`.
    """
    jpeg: dict[str, Any] = {"outcolorspace": "YCBCR"}
    if level is not None:
        jpeg["level"] = level
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        tile=(tile, tile),
        compression="jpeg",
        compressionargs=jpeg,
        **more,
    )
    return path
