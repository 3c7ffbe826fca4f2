import numpy as np
import pytest

from adaslide.adapters.slides.thumbnails import UNREADABLE_GREY, thumbnail
from adaslide.domain.errors import SlideCorrupt
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import shrink
from adaslide.domain.slide import SourceLevel


def slide(height: int, width: int, bad: Region | None = None):
    ys, xs = np.mgrid[:height, :width]
    pixels = np.stack([ys * 255 // height, xs * 255 // width, (ys + xs) % 7], axis=2).astype(np.uint8)

    def read(region: Region, level: int):
        assert level == 0
        if bad is not None and region.intersection(bad):
            raise SlideCorrupt("damaged")
        return pixels[region.y : region.bottom, region.x : region.right]

    return pixels, read, [SourceLevel(Size(width, height), 1.0)]


def test_reduce_means_whole_cells_and_short_edges():
    pixels = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    small = shrink(pixels, 4)
    assert small.shape == (2, 2, 3)
    assert np.array_equal(small[0, 0], np.floor(pixels[:4, :4].mean(axis=(0, 1)) + 0.5))
    repeated = pixels[4, [4, 5, 5, 5]].mean(axis=0)
    assert np.array_equal(small[1, 1], np.floor(repeated + 0.5))


@pytest.mark.parametrize(("height", "width", "side"), [(2967, 2220, 512), (5000, 700, 300), (90, 80, 400)])
def test_sides_and_content(height, width, side):
    pixels, read, levels = slide(height, width)
    small = thumbnail(levels, read, side)
    assert max(small.shape[:2]) == min(side, max(height, width))
    assert abs(small.shape[1] / small.shape[0] - width / height) < 0.01
    assert np.abs(small[..., 0].mean() - pixels[..., 0].mean()) < 2
    assert small[-1, 0, 0] > 240
    assert small[0, -1, 1] > 240


def test_the_nearest_larger_level_is_read():
    sizes = [(8000, 8000), (2000, 2000), (500, 500)]
    levels = [SourceLevel(Size(w, h), 8000 / w) for w, h in sizes]
    asked = set()

    def read(region, level):
        asked.add(level)
        return np.full((region.height, region.width, 3), 9, np.uint8)

    assert thumbnail(levels, read, 501).shape == (501, 501, 3)
    assert asked == {1}


def test_an_unreadable_place_is_grey_and_only_that_place():
    _, read, levels = slide(3000, 3000, bad=Region(1000, 1000, 10, 10))
    small = thumbnail(levels, read, 1000)
    grey = (small == UNREADABLE_GREY).all(axis=2)
    assert grey[1000 * 1000 // 3000, 1000 * 1000 // 3000]
    assert grey.sum() <= (512 / 3) ** 2


def test_nothing_readable_raises():
    _, read, levels = slide(600, 600, bad=Region(0, 0, 600, 600))
    with pytest.raises(SlideCorrupt):
        thumbnail(levels, read, 100)
