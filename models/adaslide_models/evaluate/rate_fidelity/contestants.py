"""Uniform codecs: one setting for every patch, on a fixed grid, at slow encoder speeds, one thread."""

from collections.abc import Callable
from dataclasses import dataclass

import imagecodecs
import numpy as np

from adaslide.adapters.rungs.image_codec import decode_coded, encode_image
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Codec, Rung, RungSpec

AVIF_QUALITIES = (2, 5, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50, 60, 70, 80)
JPEG_QUALITIES = (10, 20, 30, 40, 50, 75, 90)
WEBP_QUALITIES = (1, 5, 10, 20, 40, 60, 80)
JPEGXL_DISTANCES = (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0, 15.0)
JPEG2000_DB = (22, 24, 26, 28, 30, 32, 35)
CODECS = ("JPEG 4:2:0", "AVIF 4:4:4 s6", "WebP m6", "JPEG XL e5", "JPEG 2000", "HTJ2K")
STAINED = "AVIF of stain planes s6"
"""What our rungs are coded with, one setting for every patch: no codec that others have, and so none of
`CODECS`, but what shows how much of our advantage is choosing patch by patch."""
STAINED_QUALITIES = (2, 5, 8, 12, 16, 20, 25, 30, 35, 42, 50, 58)
HEADROOM, HEADROOM_GAIN = np.uint16(1 << 14), np.uint16(1 << 7)
HTJ2K_STEPS = (0.4, 0.3, 0.2, 0.15, 0.1, 0.06, 0.04, 0.025)


@dataclass(frozen=True, slots=True)
class Contestant:
    """One setting of one codec."""

    codec: str
    setting: str
    encode: Callable[[Pixels], bytes]
    decode: Callable[[bytes], Pixels]

    @property
    def name(self) -> str:
        return f"{self.codec} {self.setting}"


def _own(codec: Codec, quality: int) -> tuple[Callable[[Pixels], bytes], Callable[[bytes], Pixels]]:
    """By the code that writes packages."""
    spec = RungSpec(Rung.FINE, codec, quality=quality, speed=6)
    return (lambda pixels: encode_image(pixels, spec)), (lambda body: decode_coded(codec, body))


def _jpegxl(distance: float) -> Callable[[Pixels], bytes]:
    return lambda pixels: bytes(
        imagecodecs.jpegxl_encode(pixels, distance=distance, effort=5, lossless=False, numthreads=1)
    )


def _webp(quality: int) -> Callable[[Pixels], bytes]:
    return lambda pixels: bytes(imagecodecs.webp_encode(pixels, level=quality, lossless=False, method=6))


def _jpeg2000(decibel: int) -> Callable[[Pixels], bytes]:
    return lambda pixels: bytes(
        imagecodecs.jpeg2k_encode(pixels, level=decibel, codecformat="j2k", reversible=False, numthreads=1)
    )


def _htj2k(step: float) -> Callable[[Pixels], bytes]:
    """In the middle of 16 bits: the decoder wraps what its rounding carries beyond the range."""
    return lambda pixels: bytes(
        imagecodecs.htj2k_encode(
            pixels.astype(np.uint16) * HEADROOM_GAIN + HEADROOM, level=step, reversible=False
        )
    )


def _from_htj2k(body: bytes) -> Pixels:
    wide = np.asarray(imagecodecs.htj2k_decode(body), np.float32)
    pixels: Pixels = np.clip(np.rint((wide - HEADROOM) / HEADROOM_GAIN), 0, 255).astype(np.uint8)
    return pixels


def _pixels(decode: Callable[[bytes], object]) -> Callable[[bytes], Pixels]:
    return lambda body: np.asarray(decode(body), np.uint8)


def contestants(codecs: tuple[str, ...] = CODECS) -> list[Contestant]:
    """All settings of ``codecs``, in the order of `CODECS`, and of `STAINED`."""
    jpeg, avif, webp, jpegxl, jpeg2000, htj2k = CODECS
    from_webp, from_jpegxl = _pixels(imagecodecs.webp_decode), _pixels(imagecodecs.jpegxl_decode)
    from_jpeg2000 = _pixels(imagecodecs.jpeg2k_decode)
    found = [Contestant(jpeg, f"q{q}", *_own(Codec.JPEG, q)) for q in JPEG_QUALITIES]
    found += [Contestant(avif, f"q{q}", *_own(Codec.AVIF, q)) for q in AVIF_QUALITIES]
    found += [Contestant(webp, f"q{q}", _webp(q), from_webp) for q in WEBP_QUALITIES]
    found += [Contestant(jpegxl, f"d{d:g}", _jpegxl(d), from_jpegxl) for d in JPEGXL_DISTANCES]
    found += [Contestant(jpeg2000, f"{db} dB", _jpeg2000(db), from_jpeg2000) for db in JPEG2000_DB]
    found += [Contestant(htj2k, f"step {step:g}", _htj2k(step), _from_htj2k) for step in HTJ2K_STEPS]
    stained = [Contestant(STAINED, f"q{q}", *_own(Codec.STAIN_AVIF, q)) for q in STAINED_QUALITIES]
    return [one for one in found if one.codec in codecs] + (stained if codecs else [])
