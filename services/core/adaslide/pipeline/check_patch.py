"""One stored patch, decoded again and held against its promise."""

from collections.abc import Mapping
from dataclasses import dataclass

import google_crc32c
import numpy as np

from adaslide.domain.errors import UnsupportedVersion
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Rung
from adaslide.package.envelope import Envelope
from adaslide.pipeline.measure import Measurer
from adaslide.ports.rungs import PatchSource, RungCodec, TileCodec
from adaslide.ports.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Remeasured:
    """A stored patch against its original. ``tiles`` were compared byte by byte, ``tiles_equal`` of them
    are the source's own; both are 0 unless the patch is exact."""

    fidelity: Fidelity
    pixels_crc32c: int
    tiles: int
    tiles_equal: int


@dataclass(frozen=True, slots=True)
class PatchChecker:
    """Decodes and measures stored patches. Picklable: worker processes are sent one."""

    patch: int
    mpp: float
    fill: int
    codecs: Mapping[Rung, RungCodec]
    exact: TileCodec
    judge: Segmenter

    def pixels(self, payload: bytes | None) -> Pixels:
        """(p, p, 3); an absent chunk is glass at the fill value. Raises `PackageError`."""
        if payload is None:
            return np.full((self.patch, self.patch, 3), self.fill, np.uint8)
        rung = Envelope.unpack(payload).rung
        codec = self.codecs.get(rung)
        if codec is None:
            raise UnsupportedVersion(f"this build cannot decode rung {rung.label!r}")
        return codec.decode(payload, self.patch)

    def crc32c(self, payload: bytes | None) -> int:
        """CRC-32C of `pixels`: what ``decision/pixels_crc32c`` must say."""
        return int(google_crc32c.value(self.pixels(payload).tobytes()))

    def remeasure(self, payload: bytes | None, source: PatchSource) -> Remeasured:
        """``payload`` against the original it was made of. Raises `PackageError`."""
        pixels = self.pixels(payload)
        valid = slice(source.valid_height), slice(source.valid_width)
        fidelity = Measurer(source.pixels[valid], self.mpp, self.judge).measure(pixels[valid])
        tiles = tiles_equal = 0
        if payload is not None and Envelope.unpack(payload).rung is Rung.EXACT:
            kept = [tile for row in self.exact.source_tiles(payload) for tile in row]
            ours = [tile for row in source.tiles for tile in row]
            tiles = sum(tile is not None for tile in ours)
            tiles_equal = sum(a == b for a, b in zip(kept, ours, strict=True) if b is not None)
        return Remeasured(fidelity, int(google_crc32c.value(pixels.tobytes())), tiles, tiles_equal)
