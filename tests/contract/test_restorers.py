"""What every `Restorer` promises. A new implementation is one more parameter here."""

import pickle

import numpy as np
import pytest

from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.domain.pixels import shrink
from adaslide.ports.restorer import SupportsBatches

FIE = "fie-compact-x4"


def torch_restorer(precision):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from adaslide_models.runtime.device import Device, Precision
    from adaslide_models.runtime.gate import open_restorer

    return open_restorer(weights_named(FIE), Device("cpu", Precision(precision)))


def pooled_restorer():
    """The one that a worker with torch sends to its processes, in such a process: this one."""
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    from adaslide_models.runtime import process
    from adaslide_worker.nets import PooledRestorer

    process.start("cpu", [])
    return PooledRestorer(4, weights_named(FIE).digest)


MADE = {
    "bicubic x2": lambda: BicubicRestorer(2),
    "bicubic x4": lambda: BicubicRestorer(4),
    "onnx": lambda: OnnxRestorer.of(weights_named(FIE)),
    "onnx folded": lambda: OnnxRestorer.of(weights_named("fie-folded-x2")),
    "torch fp32": lambda: torch_restorer("fp32"),
    "torch bf16": lambda: torch_restorer("bf16"),
    "torch in a worker": pooled_restorer,
}


@pytest.fixture(scope="module", params=MADE)
def restorer(request):
    if request.param.startswith("onnx"):
        pytest.importorskip("onnxruntime")
    return MADE[request.param]()


@pytest.fixture(scope="module")
def lows(sample_pixels):
    """Low resolution of three sizes, the first of them twice, one of a single pixel."""
    low = shrink(sample_pixels[900:1300, 900:1300], 4)
    low.setflags(write=False)
    return [low[:40, :48], low[50:73, 10:27], low[60:100, 50:98], low[7:8, 9:10]]


def difference(a, b):
    return int(np.abs(a.astype(int) - b).max())


def test_each_image_is_enlarged(restorer, lows):
    assert restorer.scale in (2, 4)
    restored = restorer.restore(lows)
    assert [image.shape for image in restored] == [
        (low.shape[0] * restorer.scale, low.shape[1] * restorer.scale, 3) for low in lows
    ]
    assert all(image.dtype == np.uint8 for image in restored)


def test_an_empty_batch_is_empty(restorer):
    assert restorer.restore([]) == []


def test_the_batch_does_not_show(restorer, lows):
    together = restorer.restore(lows)
    backwards = restorer.restore(lows[::-1])[::-1]
    for low, one, other in zip(lows, together, backwards, strict=True):
        alone = restorer.restore([low])[0]
        assert max(difference(alone, one), difference(alone, other)) <= 1
        assert np.abs(alone.astype(int) - one).mean() < 0.02


def test_on_a_cpu_one_at_once_is_best(restorer):
    """Those whose calls are worth sharing say so; none of these is one."""
    assert (restorer.at_once if isinstance(restorer, SupportsBatches) else 1) == 1


def test_the_same_again(restorer, lows):
    first, second = restorer.restore(lows), restorer.restore(lows)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_shrunk_again_it_is_what_it_was_made_of(restorer, lows):
    for low, image in zip(lows[:3], restorer.restore(lows[:3]), strict=True):
        again = shrink(image, restorer.scale).astype(int)
        error = np.abs(again - low).mean()
        assert error < 6
        for axis in (0, 1):  # and it lies where it should
            assert error < np.abs(np.roll(again, 1, axis) - low).mean()


def test_flat_stays_flat(restorer):
    (restored,) = restorer.restore([np.full((32, 24, 3), 240, np.uint8)])
    assert difference(restored, 240) <= 4


def test_it_travels(restorer, lows):
    copy = pickle.loads(pickle.dumps(restorer))
    assert copy == restorer
    assert all(np.array_equal(a, b) for a, b in zip(copy.restore(lows), restorer.restore(lows), strict=True))
