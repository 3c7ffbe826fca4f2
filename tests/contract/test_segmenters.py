"""What every `Segmenter` promises. A new implementation is one more parameter here."""

import pickle

import numpy as np
import pytest

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.profile import NUCLEI_LEAN

MPP = 0.499


def torch_judge():
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from adaslide_models.runtime.device import Device
    from adaslide_models.runtime.gate import open_segmenter

    return open_segmenter(weights_named("nuclei-lean"), Device("cpu"))


def pooled_judge():
    """The one that a worker with torch sends to its processes, in such a process: this one."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from adaslide_models.runtime import process
    from adaslide_worker.nets import PooledSegmenter

    process.start("cpu", [])
    return PooledSegmenter(NUCLEI_LEAN)


MADE = {
    "otsu": OtsuSegmenter,
    "onnx of before": lambda: OnnxSegmenter.of(weights_named("nuclei-unet")),
    "onnx": lambda: OnnxSegmenter.of(weights_named("nuclei-lean")),
    "torch": torch_judge,
    "torch in a worker": pooled_judge,
}


@pytest.fixture(scope="module", params=MADE)
def judge(request):
    if request.param.startswith("onnx"):
        pytest.importorskip("onnxruntime")
    return MADE[request.param]()


@pytest.fixture(scope="module")
def images(sample_pixels):
    """Tissue of two sizes, the first of them twice, and glass. Read only."""
    return [
        sample_pixels[960:1200, 960:1200],
        sample_pixels[1000:1087, 900:1033],
        sample_pixels[1200:1440, 960:1200],
        sample_pixels[1440:1680, 0:240],
    ]


def test_its_name_tells_it_apart(judge):
    title, _, version = judge.name.partition("@")
    assert title
    assert version
    others = [made().name for key, made in MADE.items() if not key.startswith("torch")]
    assert others.count(judge.name) == 1


def test_one_mask_an_image_in_order(judge, images):
    masks = judge.masks(images, MPP)
    assert [mask.shape for mask in masks] == [image.shape[:2] for image in images]
    assert all(mask.dtype == bool for mask in masks)
    assert judge.masks([], MPP) == []


def test_nuclei_are_found_in_tissue_and_none_on_glass(judge, images):
    first, _, third, glass = judge.masks(images, MPP)
    for image, mask in ((images[0], first), (images[2], third)):
        assert 0.05 < mask.mean() < 0.6
        assert image[mask].mean() < image[~mask].mean() - 10
    assert glass.mean() < 0.001


@pytest.mark.parametrize("mpp", [0.25, MPP, 0.9])
def test_the_batch_does_not_show(judge, images, mpp):
    together = judge.masks(images, mpp)
    for image, mask in zip(images, together, strict=True):
        assert (judge.masks([image], mpp)[0] != mask).mean() < 1e-4


def test_the_same_again(judge, images):
    first, second = judge.masks(images, MPP), judge.masks(images, MPP)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_it_travels(judge, images):
    copy = pickle.loads(pickle.dumps(judge))
    assert copy.name == judge.name
    assert np.array_equal(copy.masks(images[:1], MPP)[0], judge.masks(images[:1], MPP)[0])
