"""The untrained judge finds dark haematoxylin, and nothing on glass."""

import numpy as np

from adaslide.adapters.segmenters.otsu import OtsuSegmenter


def test_epithelium_holds_nuclei_and_glass_none(sample_pixels):
    epithelium, glass = sample_pixels[960:1440, 960:1440], sample_pixels[1440:1920, 0:480]
    found, nothing = OtsuSegmenter().masks([epithelium, glass], 0.499)
    assert 0.1 < found.mean() < 0.5
    assert nothing.mean() < 0.001


def test_noise_on_glass_is_no_nucleus():
    noise = np.random.default_rng(0).normal(243, 4, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    assert not OtsuSegmenter().masks([noise], 0.5)[0].any()


def test_a_patch_of_nuclei_alone_is_not_split_in_halves():
    dark = np.random.default_rng(0).normal((70, 50, 120), 6, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    assert OtsuSegmenter().masks([dark], 0.5)[0].mean() > 0.9


def test_masks_come_in_order_and_shape(sample_pixels):
    images = [sample_pixels[:87, :300], sample_pixels[960:1440, 960:1440]]
    assert [m.shape for m in OtsuSegmenter().masks(images, 0.25)] == [(87, 300), (480, 480)]
