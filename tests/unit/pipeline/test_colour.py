"""The fast difference in colour is CIE76."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_cie76, rgb2lab

from adaslide.pipeline.colour import SQUARE, cube_roots, mean_difference, squares_of, worst_difference

TOLERANCE = 1e-3


def reference(original, restored):
    return deltaE_cie76(rgb2lab(original), rgb2lab(restored)).mean()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (960, 960), (2400, 1740)])
def test_real_patches(sample_pixels, top, left):
    tissue = sample_pixels[top : top + 480, left : left + 480]
    other = np.roll(tissue, 1, axis=1)
    found = mean_difference(cube_roots(tissue), other)
    assert found == pytest.approx(reference(tissue, other), abs=TOLERANCE)


@given(st.integers(1, 30), st.integers(1, 600), st.integers(0, 255), st.integers(0, 255))
def test_made_images(height, width, darkest, other):
    random = np.random.default_rng(height * width)
    original, restored = (
        random.integers(min(darkest, end), max(darkest, end) + 1, (height, width, 3)).astype(np.uint8)
        for end in (255, other)
    )
    found = mean_difference(cube_roots(original), restored)
    assert found == pytest.approx(reference(original, restored), abs=TOLERANCE)


@pytest.mark.parametrize("grey", [0, 1, 2, 20, 21, 22, 128, 255])
def test_an_image_does_not_differ_from_itself(grey):
    plain = np.full((5, 7, 3), grey, np.uint8)
    assert mean_difference(cube_roots(plain), plain) == 0


def worst_reference(original, restored):
    """The greatest difference of mean colours, square by square."""
    found = []
    for top, bottom in edges(original.shape[0]):
        for left, right in edges(original.shape[1]):
            means = [image[top:bottom, left:right].mean(axis=(0, 1)) / 255 for image in (original, restored)]
            found.append(deltaE_cie76(*(rgb2lab(mean[None, None]) for mean in means)).item())
    return max(found)


def edges(side):
    starts = list(range(0, max(side - SQUARE, 0) + 1, SQUARE))
    return list(zip(starts, [*starts[1:], side], strict=True))


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 255))
def test_the_worst_square_is_the_one_whose_mean_colour_is_furthest_off(height, width, darkest):
    random = np.random.default_rng(height * width)
    original, restored = (
        random.integers(low, 256, (height, width, 3)).astype(np.uint8) for low in (0, darkest)
    )
    found = worst_difference(squares_of(original), squares_of(restored))
    assert found == pytest.approx(worst_reference(original, restored), abs=TOLERANCE)


def test_one_square_that_changed_its_colour_is_seen(sample_pixels):
    tissue = sample_pixels[960:1440, 960:1440]
    shifted = tissue.copy()
    square = shifted[3 * SQUARE : 4 * SQUARE, 5 * SQUARE : 6 * SQUARE]
    square[..., 0] -= np.minimum(square[..., 0], 40)
    found = worst_difference(squares_of(tissue), squares_of(shifted))
    assert found > 5
    assert mean_difference(cube_roots(tissue), shifted) < 0.2
    assert worst_difference(squares_of(tissue), squares_of(tissue)) == 0
