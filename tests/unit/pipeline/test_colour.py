"""The fast difference in colour is CIE76."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_cie76, rgb2lab

from adaslide.pipeline.colour import cube_roots, mean_difference

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
