import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.geometry import SHARD_PATCHES, PatchGrid, PatchIndex, Region, Size

sides = st.integers(1, 3000)
grids = st.builds(PatchGrid, st.builds(Size, sides, sides), st.integers(16, 700))


def indices(grid: PatchGrid):
    return [PatchIndex(row, col) for row in range(grid.rows) for col in range(grid.cols)]


@given(st.builds(PatchGrid, st.builds(Size, st.integers(1, 200), st.integers(1, 200)), st.integers(3, 70)))
def test_every_pixel_is_covered_once(grid):
    seen = np.zeros((grid.size.height, grid.size.width), np.uint8)
    for index in indices(grid):
        region = grid.region(index)
        assert region.inside(grid.size)
        seen[region.y : region.bottom, region.x : region.right] += 1
    assert (seen == 1).all()
    assert len(grid) == len(indices(grid))


@given(grids)
def test_a_patch_alone_covers_its_region(grid):
    for index in indices(grid)[:200]:
        assert list(grid.covering(grid.region(index))) == [index]


@given(grids)
def test_shards_partition_the_patches(grid):
    seen = []
    for shard in grid.shards():
        patches = list(grid.patches_of(shard))
        assert patches
        assert len(patches) <= SHARD_PATCHES**2
        assert all(grid.shard_of(index) == shard for index in patches)
        seen += patches
    assert sorted(seen) == indices(grid)


@given(grids, st.data())
def test_covering_is_every_patch_that_shares_a_pixel(grid, data):
    x = data.draw(st.integers(0, grid.size.width - 1))
    y = data.draw(st.integers(0, grid.size.height - 1))
    region = Region(
        x,
        y,
        data.draw(st.integers(1, min(900, grid.size.width - x))),
        data.draw(st.integers(1, min(900, grid.size.height - y))),
    )
    covering = list(grid.covering(region))
    area = sum(grid.region(index).intersection(region).size.pixels for index in covering)
    assert area == region.size.pixels
    assert len(covering) == len(set(covering))


def test_a_patch_outside_the_grid_is_no_patch():
    grid = PatchGrid(Size(100, 100), 50)
    for index in (PatchIndex(2, 0), PatchIndex(0, 2), PatchIndex(-1, 0)):
        with pytest.raises(IndexError):
            grid.region(index)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5)])
def test_sizes_and_regions_are_not_empty(size):
    with pytest.raises(ValueError):
        Size(*size)
    with pytest.raises(ValueError):
        Region(0, 0, *size)


@given(sides, sides, st.integers(1, 64))
def test_shrinking_loses_no_pixel(width, height, factor):
    shrunk = Size(width, height).shrunk(factor)
    assert (shrunk.width - 1) * factor < width <= shrunk.width * factor
    assert (shrunk.height - 1) * factor < height <= shrunk.height * factor


def test_intersection_of_regions():
    assert Region(0, 0, 10, 10).intersection(Region(5, 6, 10, 10)) == Region(5, 6, 5, 4)
    assert Region(0, 0, 10, 10).intersection(Region(10, 0, 5, 5)) is None
