"""Rungs that keep one coded image: fine, x2, x4, lossless and the paper's pair."""

import io

import imagecodecs
import numpy as np
import simplejpeg
from PIL import Image

from adaslide.adapters.rungs.resample import enlarge_bicubic, shrink_bilinear
from adaslide.domain.errors import PackageError, UnsupportedVersion, WeightsMissing
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.rung import Codec, RestorerKind, Rung, RungSpec
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.ports.rungs import PatchSource

LOSSLESS_EFFORT = 5
"""JPEG XL effort: 7 saves 2 % more and takes three times as long."""


def encode_image(pixels: Pixels, spec: RungSpec) -> bytes:
    """``pixels`` coded as ``spec`` says; one thread, so that processes are the only parallelism."""
    match spec.codec:
        case Codec.AVIF:
            return bytes(
                imagecodecs.avif_encode(
                    pixels, level=spec.quality, speed=spec.speed, pixelformat="444", numthreads=1
                )
            )
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


def decode_image(params: ImageParams, body: bytes) -> Pixels:
    """(height, width, 3) pixels. Raises `PackageError` when the body is not what ``params`` state."""
    try:
        match params.codec:
            case Codec.AVIF:
                pixels = imagecodecs.avif_decode(body, numthreads=1)
            case Codec.JPEGXL:
                pixels = imagecodecs.jpegxl_decode(body, numthreads=1)
            case Codec.JPEG:
                pixels = simplejpeg.decode_jpeg(body, colorspace="RGB")
            case Codec.PNG:
                with Image.open(io.BytesIO(body), formats=["PNG"]) as image:
                    if image.size != (params.width, params.height):
                        raise PackageError("payload: the image is not of the size it states")
                    pixels = np.asarray(image.convert("RGB"))
    except (RuntimeError, ValueError, OSError, SyntaxError) as error:
        raise PackageError(f"payload: its {params.codec.name} image cannot be decoded") from error
    if pixels.shape != (params.height, params.width, 3) or pixels.dtype != np.uint8:
        raise PackageError("payload: the image is not of the size it states")
    return pixels


def _image(payload: bytes, patch: int) -> tuple[ImageParams, Pixels]:
    envelope = Envelope.unpack(payload)
    params = envelope.params
    if not isinstance(params, ImageParams):
        raise PackageError("payload: not an image")
    if (params.width * params.scale, params.height * params.scale) != (patch, patch):
        raise PackageError("payload: the image does not fill its patch")
    return params, decode_image(params, envelope.body)


class ImageRung:
    """See the module; `RungCodec`."""

    def encode(self, source: PatchSource, spec: RungSpec) -> bytes:
        if spec.codec is None:
            raise ValueError(f"{spec.name} names no codec")
        degrade = shrink_bilinear if spec.rung is Rung.PAPER_COMPRESS else shrink
        low = degrade(source.pixels, spec.scale)
        body = encode_image(low, spec)
        height, width = low.shape[:2]
        params = ImageParams(spec.codec, spec.scale, spec.quality, spec.restorer, width, height)
        return Envelope(spec.rung, params, body).pack()

    def decode(self, payload: bytes, patch: int) -> Pixels:
        params, low = _image(payload, patch)
        if params.scale == 1:
            return low
        if params.restorer is RestorerKind.BICUBIC:
            return enlarge_bicubic(low, params.scale)
        raise WeightsMissing(f"this build has no weights {params.restorer_digest.hex()[:12]} to restore with")

    def preview(self, payload: bytes, patch: int, factor: int) -> Pixels:
        params, low = _image(payload, patch)
        if params.scale > factor:
            return enlarge_bicubic(low, params.scale // factor)
        return shrink(low, factor // params.scale)
