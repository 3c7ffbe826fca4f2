import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from adaslide.domain.otsu import otsu_threshold


@pytest.mark.parametrize(("top", "left"), [(0, 0), (960, 960), (2400, 1740)])
def test_real_patches(sample_pixels, top, left):
    plane = sample_pixels[top : top + 480, left : left + 480].mean(axis=2, dtype=np.float32)
    assert otsu_threshold(plane) == threshold_otsu(plane)


@given(st.integers(1, 40), st.integers(2, 40), st.floats(-5, 5), st.floats(0.01, 5))
def test_made_planes(height, width, mean, spread):
    random = np.random.default_rng(height * width)
    plane = random.normal(mean, spread, (height, width)).astype(np.float32)
    assert otsu_threshold(plane) == threshold_otsu(plane)


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.3], [0.0, 0.0], [0.3, np.nextafter(np.float32(0.3), 1)]])
def test_a_plane_of_one_value_has_that_one(values):
    plane = np.array([values], np.float32)
    assert otsu_threshold(plane) == plane[0, 0]
