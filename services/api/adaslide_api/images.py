"""Pixels as files: the formats tiles and regions are served in."""

import io
from collections.abc import Callable

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg

from adaslide.domain.pixels import Pixels

JPEG_QUALITY = 90
WEBP_QUALITY = 90
AVIF_QUALITY, AVIF_SPEED = 80, 8
PNG_LEVEL = 4


def _jpeg(pixels: Pixels) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(pixels), quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="444"
    )
    return data


def _webp(pixels: Pixels) -> bytes:
    return bytes(imagecodecs.webp_encode(pixels, level=WEBP_QUALITY))


def _avif(pixels: Pixels) -> bytes:
    data = imagecodecs.avif_encode(
        pixels, level=AVIF_QUALITY, speed=AVIF_SPEED, pixelformat="444", numthreads=1
    )
    return bytes(data)


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(h, w, 3) or (h, w, 4) uint8 as PNG."""
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=PNG_LEVEL))


def _npy(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return buffer.getvalue()


ENCODERS: dict[str, tuple[str, Callable[[Pixels], bytes]]] = {
    "jpg": ("image/jpeg", _jpeg),
    "webp": ("image/webp", _webp),
    "avif": ("image/avif", _avif),
    "png": ("image/png", png),
    "npy": ("application/octet-stream", _npy),
}
"""Suffix: (media type, encoder). png and npy hold exactly the restored pixels."""

TILE_FORMATS = ("jpg", "webp", "avif", "png")
REGION_FORMATS = {"png": "png", "jpeg": "jpg", "npy": "npy"}
