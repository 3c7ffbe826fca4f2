"""The measure is the promise: it must see losses, agree with textbooks, and not jump."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import deltaE_cie76, rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.fidelity import IDENTICAL, Floors
from adaslide.pipeline.measure import (
    NUCLEI_SHARE,
    SMOOTHING,
    STRIDE,
    WINDOW,
    Measurer,
    dice,
    dice_window_min,
)


def mask(*boxes, shape=(512, 512)):
    made = np.zeros(shape, bool)
    for top, left, side in boxes:
        made[top : top + side, left : left + side] = True
    return made


@pytest.fixture
def tissue(sample_pixels):
    return sample_pixels[960:1440, 960:1440]


@pytest.fixture
def measurer(tissue):
    return Measurer(tissue, 0.499, OtsuSegmenter())


def test_two_empty_masks_agree():
    assert dice(mask(), mask()) == 1.0
    assert dice_window_min(mask(), mask()) == 1.0


def test_a_few_stray_pixels_do_not_make_dice_jump():
    assert dice(mask(), mask((10, 10, 5))) > 0.9


def test_dice_without_smoothing_is_the_textbooks():
    a, b = mask((0, 0, 256)), mask((0, 128, 256))
    assert dice(a, b) == pytest.approx(0.5, abs=0.01)


def test_one_lost_nucleus_hides_in_the_mean_and_not_in_the_window():
    nuclei = [(y, x, 24) for y in range(20, 480, 96) for x in range(20, 480, 96)]
    reference, lost = mask(*nuclei), mask(*nuclei[:-1])
    assert dice(reference, lost) > 0.97
    assert dice_window_min(reference, lost) < 0.2


def test_windows_reach_the_last_pixel_of_a_ragged_patch():
    reference = mask((150, 250, 40), shape=(200, 300))
    assert dice_window_min(reference, np.zeros_like(reference)) < 0.1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_dice_is_symmetric_and_bounded_for_any_shape(height, width, seed):
    a, b = np.random.default_rng(seed).random((2, height, width)) > 0.5
    assert dice(a, b) == dice(b, a)
    assert 0 < dice(a, b) <= 1
    assert 0 < dice_window_min(a, b) <= 1


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_the_worst_window_is_that_of_a_search_one_by_one(height, width, seed):
    reference, other = np.random.default_rng(seed).random((2, height, width)) > 0.7
    tall, wide = min(WINDOW, height), min(WINDOW, width)
    smooth, worst = SMOOTHING * tall * wide, 1.0
    for y in {*range(0, height - tall, STRIDE), height - tall}:
        for x in {*range(0, width - wide, STRIDE), width - wide}:
            a, b = (one[y : y + tall, x : x + wide] for one in (reference, other))
            if a.sum() >= NUCLEI_SHARE * a.size:
                worst = min(worst, (2 * (a & b).sum() + smooth) / (a.sum() + b.sum() + smooth))
    assert dice_window_min(reference, other) == worst


def test_identical_pixels_are_identical(measurer, tissue):
    assert measurer.measure(tissue.copy()) == IDENTICAL


def test_one_changed_sample_is_seen(measurer, tissue):
    changed = tissue.copy()
    changed[100, 100, 1] ^= 16
    measured = measurer.measure(changed)
    assert measured.max_error == 16
    assert measured.psnr < 99
    assert measured.delta_e > 0


def test_metrics_agree_with_scikit_image(measurer, tissue):
    noise = np.random.default_rng(0).integers(-20, 20, tissue.shape)
    noisy = np.clip(tissue + noise, 0, 255).astype(np.uint8)
    measured = measurer.measure(noisy)
    assert measured.psnr == pytest.approx(peak_signal_noise_ratio(tissue, noisy), abs=1e-3)
    assert measured.delta_e == pytest.approx(deltaE_cie76(rgb2lab(tissue), rgb2lab(noisy)).mean(), rel=1e-3)


def test_more_blur_is_less_of_everything(measurer, tissue):
    from scipy.ndimage import gaussian_filter

    results = [
        measurer.measure(gaussian_filter(tissue, (sigma, sigma, 0)).astype(np.uint8)) for sigma in (1, 2, 4)
    ]
    for metric in ("dice", "ssim", "psnr"):
        values = [getattr(result, metric) for result in results]
        assert values == sorted(values, reverse=True), metric


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (5, 480), (87, 300)])
def test_thin_edges_can_be_measured(tissue, height, width):
    strip = tissue[:height, :width]
    measured = Measurer(strip, 0.5, OtsuSegmenter()).measure(255 - strip)
    assert measured.ssim < 1


class Counting:
    """A judge that counts how often it is asked."""

    name = "counting"

    def __init__(self):
        self.asked = 0

    def masks(self, images, mpp):
        self.asked += len(images)
        return OtsuSegmenter().masks(images, mpp)


def test_what_fails_one_floor_is_not_measured_against_the_next(tissue):
    first, second = Counting(), Counting()
    measured = Measurer(tissue, 0.499, first, second).against(255 - tissue)
    assert not Floors(dice=0.9, dice_second=0.9).held_by(measured)
    assert (first.asked, second.asked) == (2, 0)
    assert measured.fidelity.dice == measured.dice
    assert (first.asked, second.asked) == (2, 2)


def test_slack_is_that_of_the_first_floor_that_fails_or_of_the_nearest():
    floors = Floors(dice=0.8, ssim=0.5, margin=0.0)
    at = replace(IDENTICAL, dice=0.9, ssim=0.55)
    assert floors.slack(at) == pytest.approx(0.05)
    assert floors.slack(replace(at, dice=0.7, ssim=0.1)) == pytest.approx(-0.1)
    assert floors.slack(replace(at, ssim=0.1)) == pytest.approx(-0.4)
    assert not floors.slack(replace(at, ssim=float("nan"))) >= 0
