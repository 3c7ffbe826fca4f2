"""The payload of one chunk: a small header that says how to decode the body.

Byte map (little-endian; docs/package-format.md section 3)::

    0   2  magic "AP"
    2   1  format version, 1
    3   1  rung id
    4   2  H, length of the parameters
    6   4  B, length of the body
    10  H  parameters, by rung (`ImageParams`, `TileParams`, `ConstantParams`)
    ..  B  body

The checksum is not here: every chunk carries a CRC-32C behind its payload (Zarr's crc32c codec).
"""

import struct
from dataclasses import dataclass, field

from adaslide.domain.errors import PackageError, UnsupportedVersion
from adaslide.domain.rung import THREE_QUARTERS, Codec, RestorerKind, Rung, Scale

MAGIC = b"AP"
VERSION = 1
_HEAD = struct.Struct("<2sBBHI")
_SCALES: tuple[Scale, ...] = (0, 1, 2, THREE_QUARTERS, 4)
"""By the byte that stands for them."""
_IMAGE = struct.Struct("<BBBBHH")
_TILES = struct.Struct("<HBB")
_TILE = struct.Struct("<BHI")


@dataclass(frozen=True, slots=True)
class ImageParams:
    """One coded image: fine, x4-3, x2, x4, lossless and the paper's pair.

    ``width`` and ``height`` are those of the coded (low-resolution) image; ``restorer_digest`` is
    the sha256 of the restorer's weights, empty unless ``restorer`` is WEIGHTS.
    """

    codec: Codec
    scale: Scale
    quality: int
    restorer: RestorerKind
    width: int
    height: int
    restorer_digest: bytes = b""

    def pack(self) -> bytes:
        code = _SCALES.index(self.scale)
        head = _IMAGE.pack(self.codec, code, self.quality, self.restorer, self.width, self.height)
        return head + self.restorer_digest

    @classmethod
    def unpack(cls, data: bytes) -> "ImageParams":
        codec, code, quality, restorer, width, height = _IMAGE.unpack_from(data)
        digest = data[_IMAGE.size :]
        if len(digest) != (32 if restorer == RestorerKind.WEIGHTS else 0) or not 1 <= code <= 4:
            raise PackageError("payload: image parameters that contradict each other")
        return cls(Codec(codec), _SCALES[code], quality, RestorerKind(restorer), width, height, digest)


@dataclass(frozen=True, slots=True)
class TilePart:
    """One source tile in the body of an exact payload, in row order; absent tiles have length 0.

    ``encoding``: 0 absent, 1 JPEG XL reconstruction, 2 the JPEG as it stands; bit 7 set when the
    components are RGB. ``tables_length``: bytes of the level's tables that were merged in behind
    SOI and must be cut out again to give back the tile as it stands in the file.
    """

    encoding: int
    tables_length: int
    length: int


TILE_ABSENT, TILE_JXL, TILE_JPEG, TILE_RGB = 0, 1, 2, 0x80


@dataclass(frozen=True, slots=True)
class TileParams:
    """The source's own tiles: ``cols`` x ``rows`` tiles of ``tile`` px."""

    tile: int
    cols: int
    rows: int
    parts: tuple[TilePart, ...]

    def pack(self) -> bytes:
        parts = (_TILE.pack(p.encoding, p.tables_length, p.length) for p in self.parts)
        return _TILES.pack(self.tile, self.cols, self.rows) + b"".join(parts)

    @classmethod
    def unpack(cls, data: bytes) -> "TileParams":
        tile, cols, rows = _TILES.unpack_from(data)
        if len(data) != _TILES.size + cols * rows * _TILE.size or not (tile and cols and rows):
            raise PackageError("payload: tile parameters that contradict each other")
        parts = tuple(TilePart(*row) for row in _TILE.iter_unpack(data[_TILES.size :]))
        if any((p.encoding & ~TILE_RGB) not in (TILE_ABSENT, TILE_JXL, TILE_JPEG) for p in parts):
            raise UnsupportedVersion("payload: an unknown way to keep a tile")
        return cls(tile, cols, rows, parts)


@dataclass(frozen=True, slots=True)
class ConstantParams:
    """One colour for the whole patch (glass whose colour is not the array's fill value)."""

    red: int
    green: int
    blue: int

    def pack(self) -> bytes:
        return bytes((self.red, self.green, self.blue))

    @classmethod
    def unpack(cls, data: bytes) -> "ConstantParams":
        if len(data) != 3:
            raise PackageError("payload: a colour has three samples")
        return cls(*data)


Params = ImageParams | TileParams | ConstantParams


def _params_of(rung: Rung, data: bytes) -> Params:
    if rung is Rung.BACKGROUND:
        return ConstantParams.unpack(data)
    if rung is Rung.EXACT:
        return TileParams.unpack(data)
    return ImageParams.unpack(data)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed payload. ``body`` is opaque here."""

    rung: Rung
    params: Params
    body: bytes = field(repr=False)

    def pack(self) -> bytes:
        params = self.params.pack()
        return _HEAD.pack(MAGIC, VERSION, self.rung, len(params), len(self.body)) + params + self.body

    @classmethod
    def unpack(cls, payload: bytes) -> "Envelope":
        """Parses ``payload``; raises `UnsupportedVersion` or `PackageError`, never returns garbage."""
        if len(payload) < _HEAD.size:
            raise PackageError("payload: shorter than its header")
        magic, version, rung_id, params_length, body_length = _HEAD.unpack_from(payload)
        if magic != MAGIC:
            raise PackageError("payload: not an AdaSlide payload")
        if version != VERSION:
            raise UnsupportedVersion(f"payload: version {version}, this build reads {VERSION}")
        if len(payload) != _HEAD.size + params_length + body_length:
            raise PackageError("payload: its length is not the one it states")
        params, body = payload[_HEAD.size : _HEAD.size + params_length], payload[_HEAD.size + params_length :]
        try:
            rung = Rung(rung_id)
            return cls(rung, _params_of(rung, params), body)
        except (ValueError, struct.error) as error:
            raise UnsupportedVersion(f"payload: parameters this build does not know ({error})") from error
