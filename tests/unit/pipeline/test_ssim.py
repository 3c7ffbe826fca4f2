"""The fast structural similarity is the textbook's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from adaslide.adapters.rungs.image_codec import decode_coded, encode_image
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide.pipeline.ssim import Structure, window_sums

TOLERANCE = 1e-4


def reference(original, restored, side):
    first, second = (pixels @ np.array([0.299, 0.587, 0.114]) for pixels in (original, restored))
    return structural_similarity(first, second, win_size=side, data_range=255.0)


@pytest.mark.parametrize("quality", [10, 40, 90])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (960, 960), (1440, 480), (2400, 1440)])
def test_real_patches(sample_pixels, top, left, quality):
    tissue = np.ascontiguousarray(sample_pixels[top : top + 480, left : left + 480])
    coded = encode_image(tissue, RungSpec(Rung.FINE, Codec.AVIF, quality=quality, speed=9))
    restored = decode_coded(Codec.AVIF, coded)
    found = Structure(tissue, 7).similarity(restored)
    assert found == pytest.approx(reference(tissue, restored, 7), abs=TOLERANCE)


@given(
    st.sampled_from([3, 5, 7]),
    st.integers(7, 40),
    st.integers(7, 210),
    st.integers(0, 90),
    st.integers(0, 255),
)
def test_made_images(side, height, width, noise, grey):
    random = np.random.default_rng(height * width)
    original = np.clip(grey + random.normal(0, noise, (height, width, 3)), 0, 255).astype(np.uint8)
    restored = np.clip(original + random.normal(0, noise / 2, original.shape), 0, 255).astype(np.uint8)
    found = Structure(original, side).similarity(restored)
    assert found == pytest.approx(reference(original, restored, side), abs=TOLERANCE)


def test_an_image_is_like_itself(sample_pixels):
    tissue = sample_pixels[960:1100, 960:1440]
    assert Structure(tissue, 7).similarity(tissue) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7])
def test_windows_add_up(side):
    plane = np.random.default_rng(side).integers(0, 100, (9, 12)).astype(np.float32)
    views = np.lib.stride_tricks.sliding_window_view(plane, (side, side))
    np.testing.assert_array_equal(window_sums(plane, side), views.sum(axis=(2, 3)))
