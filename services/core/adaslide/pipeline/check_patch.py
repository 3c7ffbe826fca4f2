"""One stored patch, decoded again and held against its promise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaslide.domain.errors import UnsupportedVersion
from adaslide.domain.fidelity import Fidelity
from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import RestorerKind, Rung
from adaslide.package.envelope import Envelope, ImageParams
from adaslide.pipeline.measure import Measurer
from adaslide.pipeline.proof import crc32c, payload_crc32c
from adaslide.ports.rungs import PatchSource, RungCodec, TileCodec
from adaslide.ports.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class Remeasured:
    """A stored patch against its original. ``tiles`` were compared byte by byte, ``tiles_equal`` of them
    are the source's own; both are 0 unless the patch is exact. ``by_net``: a net restored it."""

    fidelity: Fidelity
    pixels_crc32c: int
    tiles: int
    tiles_equal: int
    by_net: bool = False


def is_by_net(payload: bytes) -> bool:
    """Whether the pixels of ``payload`` come out of a net."""
    params = Envelope.unpack(payload).params
    return isinstance(params, ImageParams) and params.restorer is RestorerKind.WEIGHTS


@dataclass(frozen=True, slots=True)
class PatchChecker:
    """Decodes and measures stored patches. Picklable: worker processes are sent one."""

    patch: int
    mpp: float
    fill: int
    codecs: Mapping[Rung, RungCodec]
    exact: TileCodec
    judge: Segmenter
    second: Segmenter | None = None

    def pixels(self, payload: bytes | None) -> Pixels:
        """(p, p, 3); an absent chunk is glass at the fill value. Raises `PackageError`, `ModelError`."""
        if payload is None:
            return np.full((self.patch, self.patch, 3), self.fill, np.uint8)
        return self._codec(payload).decode(payload, self.patch)

    def crc32c(self, payload: bytes | None, pixels: Pixels | None = None) -> int:
        """What ``decision/pixels_crc32c`` must say, see `payload_crc32c`. Raises like `pixels`."""
        if payload is None:
            return crc32c(self.pixels(None))
        return payload_crc32c(self._codec(payload), payload, self.patch, pixels)

    def _codec(self, payload: bytes) -> RungCodec:
        rung = Envelope.unpack(payload).rung
        codec = self.codecs.get(rung)
        if codec is None:
            raise UnsupportedVersion(f"this build cannot decode rung {rung.label!r}")
        return codec

    def remeasure(self, payload: bytes | None, source: PatchSource) -> Remeasured:
        """``payload`` against the original it was made of. Raises `PackageError`."""
        pixels = self.pixels(payload)
        valid = slice(source.valid_height), slice(source.valid_width)
        measurer = Measurer(source.pixels[valid], self.mpp, self.judge, self.second)
        fidelity = measurer.measure(pixels[valid])
        tiles = tiles_equal = 0
        if payload is not None and Envelope.unpack(payload).rung is Rung.EXACT:
            kept = [tile for row in self.exact.source_tiles(payload) for tile in row]
            ours = [tile for row in source.tiles for tile in row]
            tiles = sum(tile is not None for tile in ours)
            tiles_equal = sum(a == b for a, b in zip(kept, ours, strict=True) if b is not None)
        by_net = payload is not None and is_by_net(payload)
        return Remeasured(fidelity, self.crc32c(payload, pixels), tiles, tiles_equal, by_net)
