"""The nets of one process: loaded once, checked, in float32, and shared by its threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from adaslide.adapters.inference import golden
from adaslide.adapters.inference.weights import Weights, weights_named
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.errors import ModelError, RuntimeMismatch, Unavailable
from adaslide.domain.pixels import shrink
from adaslide.domain.profile import CDA, FIE_X2, FIE_X4, NUCLEI_UNET
from adaslide_models.runtime import process
from adaslide_models.runtime.device import Device, Precision, computing
from adaslide_models.runtime.gathered import Gathered
from adaslide_models.runtime.model import TorchModel

torch = pytest.importorskip("torch")
FIE, JUDGE = weights_named("fie-compact-x4"), weights_named("nuclei-unet")
CPU, CPU_BF16 = Device("cpu"), Device("cpu", Precision.BF16)
MPP = 0.499
PATIENCE_S = 30


@pytest.fixture(scope="module")
def patches(sample_pixels):
    return [np.ascontiguousarray(sample_pixels[y : y + 256, 960:1216]) for y in range(480, 1504, 128)]


@pytest.fixture(scope="module")
def nets():
    nets = process.ProcessNets(CPU)
    nets.load([NUCLEI_UNET, FIE_X4])
    return nets


@pytest.fixture
def nowhere(monkeypatch):
    """A process whose nets were not started; what a test starts is forgotten after it."""
    monkeypatch.setattr(process, "_here", None)


# What a process holds


def test_each_net_is_loaded_once_and_given_to_all(nets):
    with ThreadPoolExecutor(4) as threads:
        assert len(set(map(id, threads.map(nets.segmenter, [NUCLEI_UNET] * 8)))) == 1
        assert len(set(map(id, threads.map(nets.restorer, [FIE.digest] * 8)))) == 1


def test_the_agent_is_no_net_of_a_process():
    nets = process.ProcessNets(CPU)
    nets.load([CDA])
    assert not nets._segmenters
    assert not nets._restorers


def test_what_measures_is_float32_whatever_the_device_can(nets):
    able = process.ProcessNets(CPU_BF16)
    for made in (nets, able):
        assert made.segmenter(NUCLEI_UNET).model.device == CPU
        assert made.restorer(FIE.digest).model.device == CPU
    assert able.name == f"torch {torch.__version__.partition('+')[0]} on cpu in fp32"


def test_a_start_that_fails_the_golden_tiles_fails(monkeypatch, nowhere):
    monkeypatch.setattr(golden, "MAX_DIFFERENCE", -1)
    with pytest.raises(RuntimeMismatch):
        process.start("cpu", [FIE_X4])
    with pytest.raises(ModelError, match="not started"):
        process.restore(FIE.digest, [])


def test_a_net_that_no_profile_names_is_checked_when_it_is_first_asked_for(monkeypatch, nowhere):
    process.start("cpu", [])
    monkeypatch.setattr(golden, "DIFFERING_PIXELS", -1)
    with pytest.raises(RuntimeMismatch):
        process.masks(NUCLEI_UNET, [], MPP)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_start_without_the_device_fails(nowhere):
    with pytest.raises(Unavailable, match="cuda"):
        process.start("cuda", [])


def test_it_gives_what_onnx_gives(patches, nowhere):
    process.start("cpu", [NUCLEI_UNET, FIE_X4, FIE_X2])
    lows = [shrink(patch, 4) for patch in patches]
    for ours, theirs in zip(
        process.restore(FIE.digest, lows), OnnxRestorer.of(FIE).restore(lows), strict=True
    ):
        assert np.abs(ours.astype(int) - theirs).max() <= 1
    theirs = OnnxSegmenter.of(JUDGE).masks(patches, MPP)
    for ours, other in zip(process.masks(NUCLEI_UNET, patches, MPP), theirs, strict=True):
        assert (ours != other).mean() < 1e-4


def test_a_device_without_memory_is_a_passing_error(monkeypatch, nowhere):
    nets = process.start("cpu", [])

    def full(digest):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(nets.__class__, "restorer", lambda self, digest: full(digest))
    with pytest.raises(Unavailable) as raised:
        process.restore(FIE.digest, [])
    assert raised.value.retryable


# Threads


@dataclass
class Slow:
    """A model that doubles, once it may; it keeps the sizes of its batches."""

    weights: Weights = FIE
    device: Device = CPU
    go: threading.Event = field(default_factory=threading.Event)
    running: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def run(self, images):
        self.sizes.append(len(images))
        self.running.set()
        assert self.go.wait(PATIENCE_S)
        batch = np.concatenate(images)
        if (batch < 0).any():
            raise ValueError("negative")
        return batch * 2


def image(value, size=(8, 8)):
    return np.full((1, 3, *size), value, np.float32)


def waiting(gathered, count):
    while len(gathered._waiting) < count:
        threading.Event().wait(0.005)


def test_what_gathers_while_a_batch_runs_is_the_next_batch():
    model = Slow()
    gathered = Gathered(model, 8 * 8 * 100)
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(gathered.run, [image(1)])
        assert model.running.wait(PATIENCE_S)
        others = [threads.submit(gathered.run, [image(n), image(n + 10)]) for n in range(2, 7)]
        waiting(gathered, 10)
        model.go.set()
        assert first.result(PATIENCE_S).tolist() == (image(1) * 2).tolist()
        for n, other in enumerate(others, start=2):
            assert other.result(PATIENCE_S)[:, 0, 0, 0].tolist() == [2 * n, 2 * n + 20]
    assert model.sizes == [1, 10]


def test_sizes_are_not_mixed_and_a_batch_has_an_end():
    model = Slow()
    gathered = Gathered(model, 8 * 8 * 2)
    with ThreadPoolExecutor(6) as threads:
        first = threads.submit(gathered.run, [image(0)])
        assert model.running.wait(PATIENCE_S)
        small = [threads.submit(gathered.run, [image(n)]) for n in range(1, 4)]
        large = threads.submit(gathered.run, [image(9, (16, 8))])
        waiting(gathered, 4)
        model.go.set()
        assert [one.result(PATIENCE_S)[0, 0, 0, 0] for one in (first, *small, large)] == [0, 2, 4, 6, 18]
        assert large.result().shape == (1, 3, 16, 8)
    assert sorted(model.sizes[1:]) == [1, 1, 2]


def test_an_error_is_raised_to_those_who_had_an_image_in_the_batch_and_the_next_goes_on():
    model = Slow()
    model.go.set()
    gathered = Gathered(model, 8 * 8 * 100)
    with pytest.raises(ValueError, match="negative"):
        gathered.run([image(1), image(-1)])
    assert gathered.run([image(3)])[0, 0, 0, 0] == 6


def test_threads_get_what_they_would_get_alone(nets, patches):
    judge = nets.segmenter(NUCLEI_UNET)
    alone = [judge.masks([patch], MPP)[0] for patch in patches]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda patch: judge.masks([patch], MPP)[0], patches * 3))
    for expected, found in zip(alone * 3, together, strict=True):
        assert (expected != found).mean() < 1e-4


def test_one_thread_at_a_time_has_the_flags_of_the_process():
    inside, most, lock = 0, 0, threading.Lock()

    def enter(_):
        nonlocal inside, most
        with computing(CPU):
            with lock:
                inside += 1
                most = max(most, inside)
            assert not torch.backends.cudnn.allow_tf32
            threading.Event().wait(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(enter, range(12)))
    assert most == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graphics_card_feeds_threads_in_float32(patches, nowhere):
    nets = process.start("cuda", [NUCLEI_UNET, FIE_X4])
    assert nets.device == Device("cuda")
    assert "on cuda (" in nets.name
    theirs = OnnxSegmenter.of(JUDGE).masks(patches, MPP)
    with ThreadPoolExecutor(8) as threads:
        ours = list(threads.map(lambda patch: process.masks(NUCLEI_UNET, [patch], MPP)[0], patches))
    for mask, other in zip(ours, theirs, strict=True):
        assert (mask != other).mean() < 1e-3


def test_a_torch_model_names_no_batch_of_its_own():
    """`Gathered` is a `Model` like the one that it shares."""
    shared = Gathered(TorchModel(FIE, CPU), 100)
    assert shared.weights == FIE
    assert shared.device == CPU
