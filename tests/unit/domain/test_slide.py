import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.geometry import Size
from adaslide.domain.slide import PATCH_NOMINAL, SlideFacts, SourceLevel, TileLayout, patch_size


def facts(tile: int | None) -> SlideFacts:
    size = Size(5000, 4000)
    tiles = None if tile is None else TileLayout(tile, -(-5000 // tile), -(-4000 // tile), 1000)
    return SlideFacts(size, (SourceLevel(size, 1.0),), "generic-tiff", 0.5, 20.0, None, tiles, 1000, "0" * 64)


@pytest.mark.parametrize(
    ("tile", "patch"), [(None, 512), (240, 480), (256, 512), (512, 512), (1024, 1024), (128, 512), (100, 512)]
)
def test_the_patch_is_the_multiple_of_the_tile_nearest_512(tile, patch):
    assert patch_size(facts(tile)) == patch


@given(st.integers(1, 4096))
def test_a_patch_is_a_multiple_of_16_and_aligned_or_nominal(tile):
    patch = patch_size(facts(tile))
    assert patch % 16 == 0
    assert patch <= 4 * PATCH_NOMINAL
    assert patch % tile == 0 or patch == PATCH_NOMINAL
    if patch % tile == 0 and tile <= PATCH_NOMINAL:
        assert abs(patch - PATCH_NOMINAL) <= tile / 2
