"""Seams: found where they are, and not where they are not."""

import numpy as np
import pytest

from adaslide import library, wiring
from adaslide.domain.geometry import Region
from adaslide_models.evaluate.seams import seams

PATCH = 64


@pytest.fixture
def original(sample_pixels):
    return sample_pixels[1000:1256, 600:856]


def noisy(pixels, seed=0):
    noise = np.random.default_rng(seed).normal(0, 4, pixels.shape[:2])[:, :, None]
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def test_noise_shows_no_seam(original):
    assert seams(original, noisy(original), PATCH).ratio == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("axis", [0, 1])
def test_patches_of_different_brightness_do(original, axis):
    stored = noisy(original)
    side = np.arange(stored.shape[axis]) // PATCH % 2 * 6
    brighter = side[:, None, None] if axis == 0 else side[None, :, None]
    stored = np.clip(stored.astype(int) + brighter, 0, 255).astype(np.uint8)
    assert seams(original, stored, PATCH).ratio > 2


def test_images_without_a_border_are_refused(original):
    with pytest.raises(ValueError, match="larger than a patch"):
        seams(original, original, 256)
    with pytest.raises(ValueError, match="one shape"):
        seams(original, original[:-1], PATCH)


def test_a_stored_slide_shows_little(archive_package, sample_pixels):
    """More than uniform AVIF of more bytes does, which is at 1.56 (docs/adr/0022)."""
    stored = library.open_package(archive_package[0])
    grid = stored.grid
    pixels = wiring.restoration(stored).read(Region(0, 0, grid.size.width, grid.size.height)).pixels
    assert seams(sample_pixels, pixels, grid.patch).ratio < 2.1
