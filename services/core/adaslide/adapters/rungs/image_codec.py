"""One coded image, and the rungs that keep it at full resolution: fine, lossless, the paper's Keep."""

import io

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from adaslide.adapters.rungs.stain_planes import from_planes, to_planes
from adaslide.adapters.rungs.terse_avif import lengthened, shortened
from adaslide.domain.errors import PackageError, UnsupportedVersion
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.rung import Codec, RungSpec
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.ports.rungs import PatchSource

IDENTITY = 0
"""AVIF's matrix (ITU-T H.273) that leaves planes as they are."""
TERSE = {Codec.AVIF: Codec.TERSE_AVIF, Codec.STAIN_AVIF: Codec.TERSE_STAIN_AVIF}
LOSSLESS_EFFORT = 5
"""JPEG XL effort: 7 saves 2 % more and takes three times as long."""


def encode_image(pixels: Pixels, spec: RungSpec) -> bytes:
    """``pixels`` coded as ``spec`` says; one thread, so that processes are the only parallelism."""
    match spec.codec:
        case Codec.AVIF:
            return _avif(pixels, spec)
        case Codec.STAIN_AVIF:
            return _avif(to_planes(pixels), spec, matrix=IDENTITY)
        case Codec.JPEGXL:
            return bytes(
                imagecodecs.jpegxl_encode(pixels, lossless=True, effort=LOSSLESS_EFFORT, numthreads=1)
            )
        case Codec.JPEG:
            return bytes(
                simplejpeg.encode_jpeg(
                    np.ascontiguousarray(pixels), spec.quality, colorspace="RGB", colorsubsampling="420"
                )
            )
        case Codec.PNG:
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
            return buffer.getvalue()
        case _:
            raise UnsupportedVersion(f"this build cannot encode with {spec.codec}")


def _avif(pixels: Pixels, spec: RungSpec, matrix: int | None = None) -> bytes:
    """``matrix`` None is the encoder's own: BT.601."""
    return bytes(
        imagecodecs.avif_encode(
            pixels, level=spec.quality, speed=spec.speed, pixelformat="444", matrix=matrix, numthreads=1
        )
    )


def decode_coded(codec: Codec, body: bytes) -> Pixels:
    """(h, w, 3) pixels of ``body``. Raises `PackageError` when it is no image of ``codec``."""
    try:
        match codec:
            case Codec.AVIF | Codec.STAIN_AVIF:
                pixels = imagecodecs.avif_decode(body, numthreads=1)
            case Codec.TERSE_AVIF | Codec.TERSE_STAIN_AVIF:
                pixels = imagecodecs.avif_decode(lengthened(body), numthreads=1)
            case Codec.JPEGXL:
                pixels = imagecodecs.jpegxl_decode(body, numthreads=1)
            case Codec.JPEG:
                pixels = simplejpeg.decode_jpeg(body, colorspace="RGB")
            case Codec.PNG:
                pixels = imagecodecs.png_decode(body)
            case _:
                raise UnsupportedVersion(f"this build cannot decode {codec}")
    except (RuntimeError, ValueError) as error:
        raise PackageError(f"payload: its {codec.name} image cannot be decoded") from error
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise PackageError("payload: not an 8-bit RGB image")
    if codec in (Codec.STAIN_AVIF, Codec.TERSE_STAIN_AVIF):
        return from_planes(pixels)
    return np.asarray(pixels)


def decode_image(params: ImageParams, body: bytes) -> Pixels:
    """(height, width, 3) pixels. Raises `PackageError` when the body is not what ``params`` state."""
    pixels = decode_coded(params.codec, body)
    if pixels.shape[:2] != (params.height, params.width):
        raise PackageError("payload: the image is not of the size it states")
    return pixels


def packed(pixels: Pixels, spec: RungSpec) -> bytes:
    """The payload that keeps ``pixels`` (low-resolution ones for a restored rung)."""
    if spec.codec is None:
        raise ValueError(f"{spec.name} names no codec")
    height, width = pixels.shape[:2]
    codec, body = spec.codec, encode_image(pixels, spec)
    if codec in TERSE and (terse := shortened(body)) is not None:
        codec, body = TERSE[codec], terse
    params = ImageParams(codec, spec.scale, spec.quality, spec.restorer, width, height)
    return Envelope(spec.rung, params, body).pack()


def image_of(payload: bytes, patch: int) -> tuple[ImageParams, Pixels]:
    """The coded image of ``payload`` and its parameters. Raises `PackageError`."""
    envelope = Envelope.unpack(payload)
    params = envelope.params
    if not isinstance(params, ImageParams):
        raise PackageError("payload: not an image")
    if (params.width * params.scale, params.height * params.scale) != (patch, patch):
        raise PackageError("payload: the image does not fill its patch")
    return params, decode_image(params, envelope.body)


class ImageRung:
    """Full resolution; `RungCodec`."""

    def encode(self, source: PatchSource, spec: RungSpec) -> bytes:
        return packed(source.pixels, spec)

    def decode(self, payload: bytes, patch: int) -> Pixels:
        params, pixels = image_of(payload, patch)
        if params.scale != 1:
            raise PackageError("payload: a full-resolution rung holds a smaller image")
        return pixels

    def preview(self, payload: bytes, patch: int, factor: int) -> Pixels:
        return shrink(self.decode(payload, patch), factor)
