from pathlib import Path

import numpy as np
import openslide
import pytest
import simplejpeg
import tifffile
from PIL import ImageCms

from adaslide.adapters.pyramid.tiff import TILE, TiffPyramidWriter
from adaslide.domain.errors import ChecksumMismatch, PackageError, StoreUnavailable
from adaslide.domain.geometry import Region, Size
from adaslide.ports.pyramid import PyramidFacts, ReducedLevel, SourceLayout
from adaslide.ports.slides import EncodedTile

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
WRITER = TiffPyramidWriter()


def picture(size: Size) -> np.ndarray:
    y, x = np.indices((size.height, size.width))
    return np.stack([x // 8 % 256, y // 8 % 256, (x + y) // 16 % 256], axis=2).astype(np.uint8)


def bands(pixels: np.ndarray, height: int):
    yield from (pixels[y : y + height] for y in range(0, len(pixels), height))


def opened(path: Path) -> tuple[float, tuple[tuple[int, int], ...], np.ndarray]:
    """mpp, the levels' sizes, and level 0 as OpenSlide reads it."""
    with openslide.OpenSlide(path) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
        return float(slide.properties["openslide.mpp-x"]), slide.level_dimensions, pixels


@pytest.mark.parametrize(
    ("size", "height"), [(Size(1300, 700), 100), (Size(1, 1), 1), (Size(513, 1025), 512)]
)
def test_pixels_become_a_pyramid(tmp_path, size, height):
    out, pixels = tmp_path / "out.tif", picture(size)
    WRITER.write_pixels(out, PyramidFacts(size, 0.25, PROFILE), bands(pixels, height))
    assert np.abs(WRITER.read(out, Region(0, 0, size.width, size.height)).astype(int) - pixels).max() <= 8
    with tifffile.TiffFile(out) as tiff:
        first = tiff.pages[0]
        assert tiff.is_bigtiff
        side = TILE if max(size.width, size.height) > 256 else 256
        assert (first.tilewidth, first.tilelength) == (side, side)
        assert first.iccprofile == PROFILE
        assert {page.compression.name for page in tiff.pages} == {"JPEG"}
        assert max(tiff.pages[-1].shape[:2]) <= TILE
    mpp, _, read = opened(out)
    assert mpp == pytest.approx(0.25, rel=1e-4)
    assert np.abs(read.astype(int) - pixels).max() <= 8


def test_what_the_source_of_pixels_raises_comes_through(tmp_path):
    def broken():
        yield picture(Size(600, 100))
        raise ChecksumMismatch("patch 1, 0")

    with pytest.raises(ChecksumMismatch):
        WRITER.write_pixels(tmp_path / "out.tif", PyramidFacts(Size(600, 300), 0.5), broken())


def test_a_place_that_cannot_be_written(tmp_path):
    out = tmp_path / "none" / "out.tif"
    with pytest.raises(StoreUnavailable) as caught:
        WRITER.write_pixels(out, PyramidFacts(Size(6, 3), 0.5), iter([picture(Size(6, 3))]))
    assert str(tmp_path) not in caught.value.message
    with pytest.raises(StoreUnavailable):
        WRITER.read(out, Region(0, 0, 1, 1))


def tile_of(pixels: np.ndarray, sampling: str = "420") -> EncodedTile:
    return EncodedTile(
        simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 90, colorsubsampling=sampling), b"", False
    )


@pytest.mark.parametrize("sampling", ["444", "422", "420"])
def test_source_tiles_stand_as_they_were(tmp_path, sampling):
    size, pixels, out = Size(100, 60), picture(Size(128, 64)), tmp_path / "out.tif"
    tiles = [tile_of(pixels[y : y + 32, x : x + 32], sampling) for y in (0, 32) for x in (0, 32, 64, 96)]
    tiles[5] = None  # a sparse source
    layout = SourceLayout(32, False, b"", lambda: iter(tiles))
    reduced = ReducedLevel(
        Size(25, 15), lambda r: pixels[r.y * 4 : r.bottom * 4 : 4, r.x * 4 : r.right * 4 : 4]
    )
    assert WRITER.write_source_tiles(out, PyramidFacts(size, 0.5), layout, [reduced]) == 7
    with tifffile.TiffFile(out) as tiff:
        page = tiff.pages[0]
        for number, tile in enumerate(tiles):
            tiff.filehandle.seek(page.dataoffsets[number])
            found = tiff.filehandle.read(page.databytecounts[number])
            assert found == (tile.data if tile else b"")
    _, levels, read = opened(out)
    assert levels == ((100, 60), (25, 15))
    here = read[:32, :32].astype(int)
    assert np.abs(here - simplejpeg.decode_jpeg(tiles[0].data)).max() <= 1


def test_no_tile_at_all_is_an_error(tmp_path):
    layout = SourceLayout(32, False, b"", lambda: iter([None, None]))
    with pytest.raises(PackageError):
        WRITER.write_source_tiles(tmp_path / "out.tif", PyramidFacts(Size(64, 32), 0.5), layout, [])


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xc0\x00\x03\x00", b"noise of a file"]
)
def test_a_tile_that_is_no_jpeg_is_an_error(tmp_path, data):
    layout = SourceLayout(32, False, b"", lambda: iter([EncodedTile(data, b"", False)]))
    with pytest.raises(PackageError):
        WRITER.write_source_tiles(tmp_path / "out.tif", PyramidFacts(Size(32, 32), 0.5), layout, [])
