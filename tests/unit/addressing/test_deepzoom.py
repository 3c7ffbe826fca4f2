from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.addressing.deepzoom import SCHEMA, DeepZoom
from adaslide.domain.errors import RegionOutOfRange
from adaslide.domain.geometry import Region, Size

SIZES = st.builds(Size, st.integers(1, 5000), st.integers(1, 5000))


@given(SIZES, st.integers(100, 512))
def test_the_tiles_of_a_level_cover_each_pixel_once(size, tile):
    zoom = DeepZoom(size, tile)
    for level in range(zoom.max_level + 1):
        cols, rows = zoom.tiles(level)
        regions = {(c, r): zoom.address(level, c, r).region for c in range(cols) for r in range(rows)}
        whole = zoom.level_size(level)
        assert sum(region.size.pixels for region in regions.values()) == whole.pixels
        for (col, row), region in regions.items():
            assert region.inside(whole)
            # With the equal sum above, tiles that begin where their neighbours end cannot overlap.
            assert (region.x, region.y) == (col * tile, row * tile)
            assert col + 1 == cols or region.width == tile
            assert row + 1 == rows or region.height == tile


@given(SIZES)
def test_levels_run_from_one_pixel_to_the_slide(size):
    zoom = DeepZoom(size, 256)
    assert zoom.level_size(0) == Size(1, 1)
    assert zoom.level_size(zoom.max_level) == size
    assert zoom.downsample(zoom.max_level) == 1


def test_a_known_slide():
    zoom = DeepZoom(Size(2220, 2967), 480)
    assert zoom.max_level == 12
    assert zoom.tiles(12) == (5, 7)
    assert zoom.address(12, 4, 6).region == Region(1920, 2880, 300, 87)
    assert zoom.address(11, 0, 0).downsample == 2
    assert zoom.level_size(11) == Size(1110, 1484)


@pytest.mark.parametrize(
    "address", [(-1, 0, 0), (13, 0, 0), (12, 5, 0), (12, 0, 7), (12, -1, 0), (12, 0, -1), (0, 1, 0)]
)
def test_tiles_outside_are_refused(address):
    with pytest.raises(RegionOutOfRange):
        DeepZoom(Size(2220, 2967), 480).address(*address)


def test_the_descriptor_is_what_viewers_read():
    root = ElementTree.fromstring(DeepZoom(Size(2220, 2967), 480).descriptor("webp"))
    assert root.tag == f"{{{SCHEMA}}}Image"
    assert root.attrib == {"Format": "webp", "Overlap": "0", "TileSize": "480"}
    assert root[0].attrib == {"Width": "2220", "Height": "2967"}
