"""Slides that benchmarks and tests write of pixels."""

import numpy as np
import openslide

from adaslide import wiring
from adaslide.domain.geometry import Region
from adaslide.domain.pixels import shrink
from jpeg_slide import write_jpeg_slide

LOSS = 4
"""Grey levels that JPEG of quality 95 may take, on average."""


def test_a_slide_shows_the_colours_that_it_was_given(sample_pixels, tmp_path):
    pixels = sample_pixels[800:1400, 600:1300]
    with wiring.open_slide(write_jpeg_slide(tmp_path / "a.tif", pixels, level=95)) as reader:
        assert (reader.facts.size.height, reader.facts.size.width) == pixels.shape[:2]
        read = reader.read(Region(0, 0, pixels.shape[1], pixels.shape[0]))
    assert np.abs(read.astype(int) - pixels).mean() < LOSS


def test_a_pyramid_holds_the_same_shrunk(sample_pixels, tmp_path):
    pixels = sample_pixels[800:1824, 600:1624]
    path = write_jpeg_slide(tmp_path / "a.tif", pixels, level=95, shrunk=(4, 16))
    with openslide.OpenSlide(path) as slide:
        assert slide.level_dimensions == ((1024, 1024), (256, 256), (64, 64))
        level = np.asarray(slide.read_region((0, 0), 1, (256, 256)).convert("RGB"))
    assert np.abs(level.astype(int) - shrink(pixels, 4)).mean() < LOSS
