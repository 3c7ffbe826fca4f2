import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from adaslide.domain.smoothing import smoothed


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 5.0])
def test_real_patches(sample_pixels, sigma):
    plane = sample_pixels[960:1440, 960:1440].mean(axis=2, dtype=np.float32)
    np.testing.assert_array_max_ulp(smoothed(plane, sigma), gaussian_filter(plane, sigma), maxulp=1)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 5))
def test_made_planes(height, width, sigma):
    plane = np.random.default_rng(height * width).random((height, width)).astype(np.float32)
    np.testing.assert_array_max_ulp(smoothed(plane, sigma), gaussian_filter(plane, sigma), maxulp=1)
