"""The source's own JPEG tiles, transcoded to JPEG XL without loss, and back byte for byte.

Pixels are those of the reconstructed JPEG decoded by libjpeg-turbo, as OpenSlide decodes it.
Decoding the JPEG XL directly is another decoder and up to 50 grey levels off: never done here.
JPEG: ITU-T T.81 / ISO 10918-1; reconstruction: ISO 18181-2.
"""

import imagecodecs
import numpy as np
import simplejpeg

from adaslide.domain.errors import PackageError
from adaslide.domain.pixels import Pixels, shrink
from adaslide.domain.rung import Rung, RungSpec
from adaslide.package.envelope import (
    TILE_ABSENT,
    TILE_JPEG,
    TILE_JXL,
    TILE_RGB,
    Envelope,
    TileParams,
    TilePart,
)
from adaslide.ports.rungs import PatchSource
from adaslide.ports.slides import EncodedTile

_SOI = b"\xff\xd8"
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""APP14 with transform 0: the components are RGB (T.872 section 6.5.3)."""
_UNREADABLE = (176, 96, 176)
"""Two colours woven together where no pixel of a damaged tile can be decoded: never white."""


def merged(tile: EncodedTile) -> bytes:
    """The tile as one complete JPEG: the level's tables, without their SOI and EOI, behind its SOI."""
    return _SOI + tile.tables[2:-2] + tile.data[2:] if tile.tables else tile.data


def _decoded(jpeg: bytes, size: int, *, rgb: bool, strict: bool = True) -> Pixels:
    stream = _SOI + _ADOBE_RGB + jpeg[2:] if rgb else jpeg
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(stream, strict=strict)
    except KeyError as error:  # what it raises for a colour space or subsampling it does not know
        raise ValueError("the tile's header cannot be read") from error
    if (height, width) != (size, size):
        raise ValueError("the tile is not of the size it should have")
    pixels: Pixels = simplejpeg.decode_jpeg(stream, colorspace="RGB", strict=strict)
    return pixels


def _unreadable(size: int) -> Pixels:
    weave = np.indices((size, size)).sum(axis=0) // 8 % 2 == 0
    return np.where(weave[..., None], np.uint8(96), np.array(_UNREADABLE, np.uint8))


def _decoded_as_it_stands(jpeg: bytes, size: int, *, rgb: bool) -> Pixels:
    """A tile kept as it stands may be damaged: what can be decoded, else a pattern nobody takes for glass."""
    for strict in (True, False):
        try:
            return _decoded(jpeg, size, rgb=rgb, strict=strict)
        except ValueError:
            continue
    return _unreadable(size)


def _transcoded(jpeg: bytes) -> bytes | None:
    """The JPEG as JPEG XL when that gives back every byte, else None."""
    try:
        jxl = bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, numthreads=1))
        return jxl if bytes(imagecodecs.jpegxl_decode_jpeg(jxl, numthreads=1)) == jpeg else None
    except RuntimeError:
        return None


def _sound(tile: EncodedTile, size: int) -> bool:
    """Whether libjpeg-turbo decodes the tile without a single warning."""
    try:
        _decoded(merged(tile), size, rgb=tile.rgb)
    except ValueError:
        return False
    return True


def _part(tile: EncodedTile | None, size: int) -> tuple[TilePart, bytes]:
    if tile is None:
        return TilePart(TILE_ABSENT, 0, 0), b""
    jpeg = merged(tile)
    colour = TILE_RGB if tile.rgb else 0
    tables = len(jpeg) - len(tile.data)
    # JPEG XL keeps some damaged streams too; those stay as they stand, decoded with forbearance.
    jxl = _transcoded(jpeg) if _sound(tile, size) else None
    if jxl is not None and len(jxl) < len(jpeg):
        return TilePart(TILE_JXL | colour, tables, len(jxl)), jxl
    return TilePart(TILE_JPEG | colour, tables, len(jpeg)), jpeg


def _parts(payload: bytes) -> tuple[TileParams, list[bytes]]:
    envelope = Envelope.unpack(payload)
    params = envelope.params
    if not isinstance(params, TileParams):
        raise PackageError("payload: not source tiles")
    bodies, at = [], 0
    for part in params.parts:
        bodies.append(envelope.body[at : at + part.length])
        at += part.length
    if at != len(envelope.body):
        raise PackageError("payload: the tiles do not add up to its body")
    return params, bodies


def _jpeg(part: TilePart, body: bytes) -> bytes:
    if part.encoding & ~TILE_RGB == TILE_JPEG:
        return body
    try:
        return bytes(imagecodecs.jpegxl_decode_jpeg(body, numthreads=1))
    except RuntimeError as error:
        raise PackageError("payload: a tile's JPEG cannot be reconstructed") from error


class ExactRung:
    """See the module; `TileCodec`."""

    def encode(self, source: PatchSource, spec: RungSpec) -> bytes:
        """Needs ``source.tiles``."""
        parts = [_part(tile, source.tile_size) for row in source.tiles for tile in row]
        params = TileParams(
            source.tile_size, len(source.tiles[0]), len(source.tiles), tuple(part for part, _ in parts)
        )
        return Envelope(Rung.EXACT, params, b"".join(body for _, body in parts)).pack()

    def is_sound(self, source: PatchSource) -> bool:
        """Whether libjpeg-turbo decodes every tile without a single warning."""
        return all(_sound(tile, source.tile_size) for row in source.tiles for tile in row if tile is not None)

    def source_tiles(self, payload: bytes) -> list[list[EncodedTile | None]]:
        """The tiles of an exact payload byte for byte as they stood in the source, row by row."""
        params, bodies = _parts(payload)
        tiles: list[EncodedTile | None] = []
        for part, body in zip(params.parts, bodies, strict=True):
            if part.encoding == TILE_ABSENT:
                tiles.append(None)
                continue
            jpeg, cut = _jpeg(part, body), 2 + part.tables_length
            tables = _SOI + jpeg[2:cut] + b"\xff\xd9" if part.tables_length else b""
            tiles.append(EncodedTile(_SOI + jpeg[cut:], tables, bool(part.encoding & TILE_RGB)))
        return [tiles[row * params.cols : (row + 1) * params.cols] for row in range(params.rows)]

    def decode(self, payload: bytes, patch: int) -> Pixels:
        params, bodies = _parts(payload)
        size = params.tile
        if (params.cols * size, params.rows * size) != (patch, patch):
            raise PackageError("payload: the tiles do not fill their patch")
        pixels = np.zeros((patch, patch, 3), np.uint8)
        for number, (part, body) in enumerate(zip(params.parts, bodies, strict=True)):
            if part.encoding == TILE_ABSENT:
                continue
            y, x = (place * size for place in divmod(number, params.cols))
            jpeg, rgb = _jpeg(part, body), bool(part.encoding & TILE_RGB)
            if part.encoding & ~TILE_RGB == TILE_JPEG:
                tile = _decoded_as_it_stands(jpeg, size, rgb=rgb)
            else:
                try:
                    tile = _decoded(jpeg, size, rgb=rgb)
                except ValueError as error:
                    raise PackageError("payload: a tile's JPEG cannot be decoded") from error
            pixels[y : y + size, x : x + size] = tile
        return pixels

    def preview(self, payload: bytes, patch: int, factor: int) -> Pixels:
        return shrink(self.decode(payload, patch), factor)
