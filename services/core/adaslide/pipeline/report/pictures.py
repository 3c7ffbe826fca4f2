"""Pictures inside the page: everything is a data URI, nothing is fetched."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels
from adaslide.pipeline.restore import Restoration

OVERVIEW_SIDE = 1600
"""The slide's picture is at most this long, px."""
JPEG_QUALITY = 90


def _data_uri(image: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def jpeg_uri(pixels: Pixels) -> str:
    """(h, w, 3) pixels as a 4:4:4 JPEG."""
    return _data_uri(Image.fromarray(pixels), "JPEG", quality=JPEG_QUALITY, subsampling=0)


def png_uri(rgba: npt.NDArray[np.uint8]) -> str:
    """(h, w, 4) RGBA as a PNG."""
    return _data_uri(Image.fromarray(rgba), "PNG")


def overview(restoration: Restoration, size: Size) -> Pixels:
    """The whole slide, shrunk by the smallest power of two that fits `OVERVIEW_SIDE`."""
    downsample = 1
    while max(size.width, size.height) > OVERVIEW_SIDE * downsample:
        downsample *= 2
    shrunk = size.shrunk(downsample)
    return restoration.read(Region(0, 0, shrunk.width, shrunk.height), downsample).pixels
