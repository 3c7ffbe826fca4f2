"""Rungs that keep a low-resolution image and restore it: x4-3, x2, x4 and the paper's Compress."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from PIL import Image

from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.installed import BICUBIC, PLAIN
from adaslide.adapters.rungs.image_codec import decode_coded, encode_image, image_of, packed
from adaslide.domain.errors import PackageError, WeightsMissing
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.rung import RestorerKind, Rung, RungSpec, Scale
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.ports.restorer import Restorer
from adaslide.ports.rungs import PatchSource


def resampled(pixels: Pixels, scale: Scale, method: Image.Resampling) -> Pixels:
    """(h, w, 3) ``pixels`` as (h / scale, w / scale, 3), by Pillow's antialiased ``method``."""
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(pixels).resize((int(width / scale), int(height / scale)), method))


def low_resolution(pixels: Pixels, spec: RungSpec) -> Pixels:
    """The (h / scale, w / scale, 3) image that ``spec`` stores of (h, w, 3) ``pixels``, before its codec."""
    if spec.rung is Rung.PAPER_COMPRESS:  # Methods, "FIE training"
        return resampled(pixels, spec.scale, Image.Resampling.BILINEAR)
    # Blocks of pixels have a mean where the scale is whole; between pixels, Lanczos' kernel keeps most.
    if isinstance(spec.scale, int):
        return shrink(pixels, spec.scale)
    return resampled(pixels, spec.scale, Image.Resampling.LANCZOS)


def degraded(pixels: Pixels, spec: RungSpec) -> Pixels:
    """The low-resolution image of ``pixels`` as it comes back from the payload of ``spec``.

    (h, w, 3) in, (h / scale, w / scale, 3) out. What a restorer is given when a package is read, and
    hence what it is trained and judged on.
    """
    if spec.codec is None:
        raise ValueError(f"{spec.name} names no codec")
    return decode_coded(spec.codec, encode_image(low_resolution(pixels, spec), spec))


def _kind(digest: bytes) -> RestorerKind:
    return RestorerKind.WEIGHTS if digest else RestorerKind.BICUBIC


@dataclass(frozen=True, slots=True)
class RestoredRung:
    """`RungCodec`, `SupportsAlternatives` and `SupportsNets`.

    ``restorers`` by (scale, sha256 of the weights): all that can be decoded. ``tried`` are the weights
    that compete with bicubic when a patch is encoded.
    """

    restorers: Mapping[tuple[Scale, bytes], Restorer] = field(default_factory=lambda: PLAIN)
    tried: tuple[bytes, ...] = ()

    def encode(self, source: PatchSource, spec: RungSpec) -> bytes:
        return packed(low_resolution(source.pixels, spec), spec)

    def alternatives(self, payload: bytes) -> list[bytes]:
        """Only the header differs: which restorer is to be used."""
        envelope = Envelope.unpack(payload)
        params = envelope.params
        if not isinstance(params, ImageParams):
            raise PackageError("payload: not an image")
        others = [
            replace(params, restorer=_kind(digest), restorer_digest=digest)
            for digest in (BICUBIC, *self.tried)
            if digest != params.restorer_digest and (params.scale, digest) in self.restorers
        ]
        return [payload, *(replace(envelope, params=other).pack() for other in others)]

    def decode(self, payload: bytes, patch: int) -> Pixels:
        params, low = image_of(payload, patch)
        return self.restorer(params.scale, params.restorer_digest).restore([low])[0]

    def before_net(self, payload: bytes, patch: int) -> Pixels | None:
        params = Envelope.unpack(payload).params
        if not isinstance(params, ImageParams) or not params.restorer_digest:
            return None
        self.restorer(params.scale, params.restorer_digest)
        return image_of(payload, patch)[1]

    def preview(self, payload: bytes, patch: int, factor: int) -> Pixels:
        params, low = image_of(payload, patch)
        if params.scale > factor:
            return BicubicRestorer(params.scale // factor).restore([low])[0]
        ratio = Fraction(factor) / params.scale
        if ratio.denominator == 1:
            return shrink(low, ratio.numerator)
        return resampled(low, ratio, Image.Resampling.BOX)

    def restorer(self, scale: Scale, digest: bytes) -> Restorer:
        """By the sha256 of its weights, `BICUBIC` for none. Raises `WeightsMissing`."""
        restorer = self.restorers.get((scale, digest))
        if restorer is None:
            raise WeightsMissing(f"this build has no weights {digest.hex()[:12]} to restore with")
        return restorer
