"""Exact means exact: the source's bytes, and the pixels that OpenSlide shows."""

import numpy as np
import pytest
import simplejpeg
import tifffile

from adaslide import codec_runtime
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.domain.errors import PackageError
from adaslide.domain.rung import Rung, RungSpec
from adaslide.package.envelope import TILE_JPEG, TILE_RGB, Envelope
from adaslide.ports.rungs import PatchSource
from adaslide.ports.slides import EncodedTile

SPEC = RungSpec(Rung.EXACT)


@pytest.fixture(scope="module")
def tiles(sample_slide):
    """(13, 10) tiles, read by tifffile: another way than the product's."""
    with tifffile.TiffFile(sample_slide) as tiff:
        page = tiff.pages[0]
        data = []
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            tiff.filehandle.seek(offset)
            data.append(EncodedTile(tiff.filehandle.read(count), page.jpegtables, rgb=True))
    return [data[row * 10 : row * 10 + 10] for row in range(13)]


def patch_of(tiles, row, col):
    return PatchSource(
        np.zeros((480, 480, 3), np.uint8),
        480,
        480,
        tuple(tuple(tiles[row + dy][col : col + 2]) for dy in range(2)),
        240,
    )


def test_tiles_come_back_byte_for_byte_with_their_tables(tiles):
    source = patch_of(tiles, 4, 4)
    assert ExactRung().source_tiles(ExactRung().encode(source, SPEC)) == [list(row) for row in source.tiles]


def test_pixels_are_those_openslide_shows(tiles, sample_pixels):
    payload = ExactRung().encode(patch_of(tiles, 4, 4), SPEC)
    assert np.array_equal(codec_runtime.decode_payload(payload, 480), sample_pixels[960:1440, 960:1440])


def test_a_payload_is_smaller_than_its_tiles(tiles):
    source = patch_of(tiles, 4, 4)
    stored = sum(len(tile.data) for row in source.tiles for tile in row)
    assert len(ExactRung().encode(source, SPEC)) < 0.80 * stored


@pytest.mark.parametrize("subsampling", ["444", "422", "420", "Gray"])
def test_every_subsampling_comes_back(sample_pixels, subsampling):
    tile = np.ascontiguousarray(sample_pixels[1000:1240, 1000:1240])
    if subsampling == "Gray":
        jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(tile[..., :1]), 80, colorspace="Gray")
    else:
        jpeg = simplejpeg.encode_jpeg(tile, 80, colorsubsampling=subsampling)
    encoded = EncodedTile(jpeg, b"", rgb=False)
    source = PatchSource(np.zeros((240, 240, 3), np.uint8), 240, 240, ((encoded,),), 240)
    payload = ExactRung().encode(source, SPEC)
    assert ExactRung().source_tiles(payload) == [[encoded]]
    assert np.array_equal(
        codec_runtime.decode_payload(payload, 240), simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
    )


def test_absent_tiles_stay_absent(tiles):
    source = PatchSource(
        np.zeros((480, 480, 3), np.uint8), 240, 240, ((tiles[12][9], None), (None, None)), 240
    )
    assert ExactRung().source_tiles(ExactRung().encode(source, SPEC)) == [[tiles[12][9], None], [None, None]]


def damaged(tile, *, cut=False):
    data = bytearray(tile.data)
    if cut:
        return EncodedTile(bytes(data[: len(data) // 3]), tile.tables, tile.rgb)
    for at in range(len(data) // 4, len(data) // 4 + 40):
        data[at] ^= 0xFF
    return EncodedTile(bytes(data), tile.tables, tile.rgb)


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_tile_is_found_and_kept_as_it_stands(tiles, cut):
    broken = damaged(tiles[5][5], cut=cut)
    source = PatchSource(np.zeros((240, 240, 3), np.uint8), 240, 240, ((broken,),), 240)
    assert not ExactRung().is_sound(source)
    payload = ExactRung().encode(source, SPEC)
    assert ExactRung().source_tiles(payload) == [[broken]]
    assert Envelope.unpack(payload).params.parts[0].encoding == TILE_JPEG | TILE_RGB
    pixels = codec_runtime.decode_payload(payload, 240)
    assert pixels.min(axis=(0, 1)).max() < 240, "a damaged tile never shows as white"


def test_a_tile_that_is_no_jpeg_at_all_shows_a_pattern():
    source = PatchSource(
        np.zeros((64, 64, 3), np.uint8), 64, 64, ((EncodedTile(b"\xff\xd8nonsense", b"", False),),), 64
    )
    pixels = codec_runtime.decode_payload(ExactRung().encode(source, SPEC), 64)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) == 2


def test_sound_tiles_are_sound(tiles):
    assert ExactRung().is_sound(patch_of(tiles, 0, 0))


def test_a_body_that_does_not_add_up_is_refused(tiles):
    envelope = Envelope.unpack(ExactRung().encode(patch_of(tiles, 4, 4), SPEC))
    with pytest.raises(PackageError, match="add up"):
        ExactRung().decode(Envelope(Rung.EXACT, envelope.params, envelope.body + b"x").pack(), 480)
