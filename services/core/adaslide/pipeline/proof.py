"""What proves that a stored patch is still what was measured."""

import google_crc32c

from adaslide.domain.pixels import Pixels
from adaslide.ports.rungs import RungCodec, SupportsNets


def crc32c(pixels: Pixels) -> int:
    """CRC-32C of the samples in C order."""
    return int(google_crc32c.value(pixels.tobytes()))


def payload_crc32c(codec: RungCodec, payload: bytes, patch: int, pixels: Pixels | None = None) -> int:
    """CRC-32C of the (patch, patch, 3) pixels that ``payload`` restores to (``pixels``, if they are known).

    Where a net restores it, that of the image before the net, which need not be run: its floating point
    rounds differently on another processor. Raises `PackageError`, `WeightsMissing`.
    """
    stored = codec.before_net(payload, patch) if isinstance(codec, SupportsNets) else None
    if stored is not None:
        return crc32c(stored)
    return crc32c(codec.decode(payload, patch) if pixels is None else pixels)
