import pytest

from adaslide.addressing.levels import LevelRead, level_read
from adaslide.domain.errors import RegionOutOfRange

STORED = (1, 16, 64)


@pytest.mark.parametrize(
    ("downsample", "read"),
    [
        (1, LevelRead(0, 1, 1)),
        (2, LevelRead(0, 2, 1)),
        (4, LevelRead(0, 4, 1)),
        (8, LevelRead(0, 4, 2)),
        (16, LevelRead(1, 1, 1)),
        (32, LevelRead(1, 1, 2)),
        (64, LevelRead(2, 1, 1)),
        (512, LevelRead(2, 1, 8)),
    ],
)
def test_each_downsample_is_read_from_the_nearest_stored_level(downsample, read):
    assert level_read(downsample, STORED) == read


@pytest.mark.parametrize("downsample", [-2, 0, 3, 6, 100])
def test_only_powers_of_two(downsample):
    with pytest.raises(RegionOutOfRange):
        level_read(downsample, STORED)
