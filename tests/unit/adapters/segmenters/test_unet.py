"""The learned judge: scales it knows and refuses, shapes, and what it finds on the sample slide."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from adaslide.adapters.inference.weights import Weights, weights_named
from adaslide.adapters.segmenters.unet import OnnxSegmenter, Scaling
from adaslide.domain.errors import InputError, ModelError

SCALING = Scaling(mpp=0.5, known=(0.1, 0.8), multiple=16)


@dataclass(frozen=True)
class DarkIsNucleus:
    """Stands in for a net: logits are how much darker than middle grey a pixel is."""

    digest: bytes = b"\x12" * 32

    def run(self, batch):
        assert batch.dtype == np.float32
        assert batch.shape[2] % 16 == batch.shape[3] % 16 == 0
        return 0.5 - batch.mean(axis=1, keepdims=True)


@pytest.fixture
def dark():
    return OnnxSegmenter(DarkIsNucleus(), SCALING, "dark")


@pytest.fixture(scope="module", params=["nuclei-unet", "nuclei-lean"])
def judge(request):
    pytest.importorskip("onnxruntime")
    return OnnxSegmenter.of(weights_named(request.param))


def disc(side, radius):
    """A black disc on white, its centre in the middle."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.where((x**2 + y**2 < radius**2)[..., None], 0, 255).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("mpp", [0.09, 0.81, 2.0, float("nan")])
def test_unknown_scales_are_refused(dark, mpp):
    with pytest.raises(InputError, match="micrometres per pixel"):
        dark.masks([disc(64, 10)], mpp)


@pytest.mark.parametrize("mpp", [0.1, 0.125, 0.25, 0.33, 0.46, 0.5, 0.54, 0.6, 0.8])
@pytest.mark.parametrize("side", [200, 203])
def test_a_mask_lies_where_the_nucleus_lies_at_every_scale(dark, mpp, side):
    image = disc(side, 60)
    (mask,) = dark.masks([image], mpp)
    truth = image[..., 0] == 0
    assert mask.shape == truth.shape
    assert mask.dtype == bool
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.97


def test_nearly_the_right_scale_is_not_resampled():
    image = disc(48, 9)
    assert SCALING.scaled(image, 0.46) is image
    assert SCALING.scaled(image, 0.25).shape == (24, 24, 3)
    assert SCALING.scaled(image, 0.75).shape == (72, 72, 3)


def test_sides_are_filled_with_the_edge():
    image = disc(33, 9)
    image[-1], image[:, -1] = 10, 10
    planes = SCALING.planes(image)
    assert planes.shape == (1, 3, 48, 48)
    assert (planes[..., 32:, 32:] == np.float32(10 / 255)).all()


def test_the_name_tells_trainings_apart(dark):
    assert dark.name == "dark@121212121212"


@pytest.mark.parametrize("table", [{}, {"mpp": 0.5, "known_mpp": [0.1], "multiple": 16}])
def test_weights_without_a_scale_are_no_judge(table):
    weights = Weights("x", "segmenter", Path("x.onnx"), b"", table)
    with pytest.raises(ModelError, match="no segmenter"):
        OnnxSegmenter.of(weights)


def test_weights_of_another_kind_are_no_judge():
    table = {"mpp": 0.5, "known_mpp": [0.1, 0.8], "multiple": 16}
    with pytest.raises(ModelError, match="no segmenter"):
        OnnxSegmenter.of(Weights("x", "restorer", Path("x.onnx"), b"", table))


def test_epithelium_holds_nuclei_and_glass_none(judge, sample_pixels):
    epithelium, glass = sample_pixels[960:1440, 960:1440], sample_pixels[1440:1920, 0:480]
    found, nothing = judge.masks([epithelium, glass], 0.499)
    assert 0.08 < found.mean() < 0.5
    assert nothing.mean() < 0.001
    # Nuclei are darker than what lies between them.
    assert epithelium[found].mean() < epithelium[~found].mean() - 20


def test_noise_on_glass_and_plain_glass_hold_no_nucleus(judge):
    noise = np.random.default_rng(0).normal(243, 4, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    plain = np.full((100, 130, 3), 240, np.uint8)
    assert not any(mask.any() for mask in judge.masks([noise, plain], 0.5))


def test_masks_come_in_order_and_shape_and_depend_on_nothing_else(judge, sample_pixels):
    images = [
        sample_pixels[:87, :300],
        sample_pixels[960:1440, 960:1440],
        sample_pixels[1000:1001, 1000:1003],
    ]
    masks = judge.masks(images, 0.25)
    assert [mask.shape for mask in masks] == [(87, 300), (480, 480), (1, 3)]
    again = [judge.masks([image], 0.25)[0] for image in reversed(images)]
    assert all(np.array_equal(a, b) for a, b in zip(masks, reversed(again), strict=True))


def test_a_copy_in_another_process_judges_alike(judge, sample_pixels):
    copy = pickle.loads(pickle.dumps(judge))
    assert copy == judge
    assert copy.name == judge.name
    patch = sample_pixels[960:1088, 960:1088]
    assert np.array_equal(copy.masks([patch], 0.499)[0], judge.masks([patch], 0.499)[0])


def test_the_same_tissue_at_twice_the_pixels_holds_the_same_nuclei(judge, sample_pixels):
    patch = sample_pixels[960:1440, 960:1440]
    (small,) = judge.masks([patch], 0.5)
    (large,) = judge.masks([patch.repeat(2, axis=0).repeat(2, axis=1)], 0.25)
    large = large[::2, ::2]  # half a pixel off, and shrinking softens: outlines may move by one
    assert 2 * (small & large).sum() / (small.sum() + large.sum()) > 0.9
