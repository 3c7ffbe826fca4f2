"""The levels of a package's pyramid. Apart from the layout: what encodes patches need not load Zarr."""

from dataclasses import dataclass

from adaslide.domain.geometry import Size

FIRST_OVERVIEW = 16
OVERVIEW_STEP = 4


@dataclass(frozen=True, slots=True)
class LevelInfo:
    """One level of the pyramid: the array's path, its downsample of level 0, its size in px."""

    path: str
    downsample: int
    size: Size


def levels_of(size: Size, patch: int) -> tuple[LevelInfo, ...]:
    """Level 0 and its overviews x16, x64, ... up to the first that fits into one patch.

    There is always one overview, so that a thumbnail never costs a read of level 0.
    """
    levels = [LevelInfo("0", 1, size)]
    downsample = FIRST_OVERVIEW
    while True:
        shrunk = size.shrunk(downsample)
        levels.append(LevelInfo(str(len(levels)), downsample, shrunk))
        if max(shrunk.width, shrunk.height) <= patch:
            return tuple(levels)
        downsample *= OVERVIEW_STEP
