"""torch in the place of ONNX: the same pixels and masks within the gate's tolerance, or none at all."""

import logging
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("safetensors")

from adaslide.adapters.inference import golden
from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.installed import BICUBIC
from adaslide.adapters.restorers.onnx import OnnxRestorer
from adaslide.adapters.rungs.restored import RestoredRung, degraded
from adaslide.adapters.segmenters.unet import OnnxSegmenter
from adaslide.domain.errors import DigestMismatch, InputError, ModelError, RuntimeMismatch, Unavailable
from adaslide.domain.rung import Codec, RestorerKind, Rung, RungSpec
from adaslide.package.envelope import Envelope
from adaslide.pipeline.measure import dice
from adaslide.ports.rungs import PatchSource
from adaslide_models.runtime import restorer as restorer_module
from adaslide_models.runtime.device import CPU_PART, Device, Precision, choose
from adaslide_models.runtime.gate import gated_restorer, gated_segmenter, open_restorer, open_segmenter
from adaslide_models.runtime.model import TorchModel, batches
from adaslide_models.runtime.restorer import TorchRestorer
from adaslide_models.runtime.segmenter import TorchSegmenter
from adaslide_models.weights import load_trained, sha256

torch = pytest.importorskip("torch")
FIE, JUDGE = weights_named("fie-compact-x4"), weights_named("nuclei-unet")
CPU, CPU_BF16 = Device("cpu"), Device("cpu", Precision.BF16)
MPP = 0.499
PLACES = ((960, 960), (1440, 960), (480, 1200), (1000, 400))
"""Row and column of patches of 512 px: epithelium twice, the edge of the tissue, stroma."""


@pytest.fixture(scope="module", params=[CPU, CPU_BF16], ids=str)
def restorer(request):
    torch.set_num_threads(1)
    return open_restorer(FIE, request.param)


@pytest.fixture(scope="module")
def judge():
    return OnnxSegmenter.of(JUDGE)


@pytest.fixture(scope="module")
def patches(sample_pixels):
    return [np.ascontiguousarray(sample_pixels[y : y + 512, x : x + 512]) for y, x in PLACES]


def off(a, b):
    """(greatest, mean) difference in grey levels."""
    error = np.abs(a.astype(int) - b)
    return int(error.max()), float(error.mean())


def damaged(weights, folder, change):
    """``weights`` in ``folder``: the same ONNX and golden tiles, ``change`` done to the safetensors."""
    path = folder / weights.path.name
    shutil.copytree(golden.folder_of(weights), golden.folder_of(replace(weights, path=path)))
    shutil.copy(weights.path, path)
    tensors = load_trained(weights)
    change(tensors)
    pytest.importorskip("safetensors.torch").save_file(tensors, folder / "other.safetensors")
    table = {"safetensors": "other.safetensors", "safetensors_sha256": sha256(folder / "other.safetensors")}
    return replace(weights, path=path, table=weights.table | table)


# What is handed out


def test_the_precision_asked_for_is_the_one_that_passed(restorer, request):
    assert str(restorer.model.device) in request.node.name
    assert restorer.digest == FIE.digest
    assert restorer.scale == 4


def test_a_package_made_with_onnx_decodes_with_torch(restorer, judge, patches):
    digest = FIE.digest
    known = {(4, BICUBIC): BicubicRestorer(4), (4, digest): OnnxRestorer.of(FIE)}
    canonical, other = RestoredRung(known), RestoredRung({(4, digest): restorer})
    for patch, quality in zip(patches, (30, 45, 60, 75), strict=True):
        bicubic = RungSpec(Rung.X4, Codec.AVIF, 4, quality, restorer=RestorerKind.BICUBIC)
        envelope = Envelope.unpack(canonical.encode(PatchSource(patch, 512, 512), bicubic))
        params = replace(envelope.params, restorer=RestorerKind.WEIGHTS, restorer_digest=digest)
        payload = replace(envelope, params=params).pack()
        served, theirs = canonical.decode(payload, 512), other.decode(payload, 512)
        greatest, mean = off(served, theirs)
        assert greatest <= 3
        assert mean <= 0.25
        original, *restored = judge.masks([patch, served, theirs], MPP)
        measured, again = (dice(original, mask) for mask in restored)
        assert abs(measured - again) < 1e-3


def test_fp32_differs_from_onnx_by_less_than_rounding(patches):
    low = degraded(patches[0], RungSpec(Rung.X4, Codec.AVIF, 4, 45))
    greatest, mean = off(open_restorer(FIE, CPU).restore([low])[0], OnnxRestorer.of(FIE).restore([low])[0])
    assert greatest <= 1
    assert mean < 0.001


def test_the_judge_finds_the_same_nuclei(judge, patches):
    found = open_segmenter(JUDGE, CPU)
    assert found.name == judge.name
    for mpp in (0.25, MPP):
        pairs = zip(judge.masks(patches, mpp), found.masks(patches, mpp), strict=True)
        for theirs, ours in pairs:
            assert (theirs != ours).mean() < 1e-4
            assert dice(theirs, ours) > 1 - 1e-4


def test_the_judge_refuses_the_scales_that_the_canonical_one_refuses():
    with pytest.raises(InputError):
        open_segmenter(JUDGE, CPU).masks([np.zeros((16, 16, 3), np.uint8)], 2.0)


def test_a_judge_is_never_run_in_bfloat16():
    assert open_segmenter(JUDGE, CPU_BF16).model.device == CPU
    rounded = TorchSegmenter(TorchModel(JUDGE, CPU_BF16), OnnxSegmenter.of(JUDGE))
    with pytest.raises(RuntimeMismatch):
        gated_segmenter(rounded)


# Batches


@pytest.fixture(scope="module")
def lows(patches):
    spec = RungSpec(Rung.X4, Codec.AVIF, 4, 45)
    whole = [degraded(patch, spec) for patch in patches]
    return [*whole, whole[0][:33, :57], *whole[::-1]]


def test_many_are_restored_as_one_by_one(restorer, lows, monkeypatch):
    alone = [restorer.restore([low])[0] for low in lows]
    for pixels in (restorer_module.BATCH_PIXELS, CPU_PART * 128 * 128 * 3, 1):
        monkeypatch.setattr(restorer_module, "BATCH_PIXELS", pixels)
        for one, other in zip(alone, restorer.restore(lows), strict=True):
            greatest, mean = off(one, other)
            assert greatest <= 1
            assert mean < 0.05


@pytest.mark.parametrize(("pixels", "parts"), [(4 * 60, 3), (4 * 60 - 1, 4), (2 * 60, 4), (1, 6)])
def test_batches_hold_images_of_one_size_and_not_too_many(pixels, parts):
    images = [np.zeros((1, 3, *size), np.float32) for size in ((6, 10), (6, 10), (10, 6), (9, 9), (6, 10))]
    images.insert(2, np.zeros((1, 3, 6, 10), np.float32))
    groups = batches(images, pixels)
    assert len(groups) == parts
    assert sorted(index for group in groups for index in group) == list(range(6))
    for group in groups:
        assert len({images[index].shape for index in group}) == 1
        assert len(group) == 1 or sum(images[index][0, 0].size for index in group) <= pixels


# What is not handed out


def test_a_damaged_enhancer_is_refused(tmp_path):
    def change(tensors):
        tensors["tail.weight"] *= 1.2

    weights = damaged(FIE, tmp_path, change)
    with pytest.raises(RuntimeMismatch, match="grey levels"):
        open_restorer(weights, CPU)
    with pytest.raises(RuntimeMismatch):
        open_restorer(weights, CPU_BF16)


def test_a_damaged_judge_is_refused(tmp_path):
    def change(tensors):
        tensors["head.bias"] += 0.05

    with pytest.raises(RuntimeMismatch, match="Dice"):
        open_segmenter(damaged(JUDGE, tmp_path, change), CPU)


def test_undamaged_weights_pass_from_there(tmp_path):
    assert open_restorer(damaged(FIE, tmp_path, dict), CPU).digest == FIE.digest


def test_a_net_of_another_shape_is_refused(tmp_path):
    weights = damaged(FIE, tmp_path, lambda tensors: tensors.pop("tail.bias"))
    with pytest.raises(ModelError, match="another net"):
        open_restorer(weights, CPU)


def test_safetensors_of_another_digest_are_not_loaded(tmp_path):
    weights = damaged(FIE, tmp_path, dict)
    table = weights.table | {"safetensors_sha256": FIE.table["safetensors_sha256"][:-1] + "0"}
    with pytest.raises(DigestMismatch):
        open_restorer(replace(weights, table=table), CPU)


def test_weights_of_an_unknown_net_or_kind_are_refused():
    for table in ({**FIE.table, "architecture": "transformer"}, {"scale": 4}):
        with pytest.raises(ModelError, match="what net"):
            open_restorer(replace(FIE, table=table), CPU)
    with pytest.raises(ModelError, match="no restorer"):
        open_restorer(JUDGE, CPU)
    with pytest.raises(ModelError, match="no segmenter"):
        open_segmenter(FIE, CPU)


def test_where_bfloat16_fails_float32_is_taken_and_said(monkeypatch, caplog):
    monkeypatch.setattr(golden, "MEAN_DIFFERENCE", 0.02)
    with caplog.at_level(logging.WARNING):
        assert open_restorer(FIE, CPU_BF16).model.device == CPU
    assert "float32 is taken" in caplog.text
    with pytest.raises(RuntimeMismatch):
        gated_restorer(TorchRestorer.of(FIE, CPU_BF16))


# Devices


def test_the_cpu_is_taken_where_there_is_no_other(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose() == CPU
    assert choose("cpu", Precision.BF16) == CPU_BF16
    for name in ("cuda", "cuda:1", "abacus"):
        with pytest.raises(Unavailable, match=name):
            choose(name)


@pytest.mark.parametrize(("able", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bfloat16_is_taken_on_graphics_cards_that_have_it(monkeypatch, able, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: able)
    assert choose() == Device("cuda", Precision(precision))
    assert choose("cuda:1", Precision.FP32) == Device("cuda:1")
    assert choose("cpu") == CPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_graphics_card_passes_the_gate(patches):
    low = degraded(patches[0], RungSpec(Rung.X4, Codec.AVIF, 4, 45))
    greatest, mean = off(open_restorer(FIE).restore([low] * 32)[-1], OnnxRestorer.of(FIE).restore([low])[0])
    assert greatest <= 3
    assert mean <= 0.25
    assert open_segmenter(JUDGE).model.device == Device("cuda")


def test_a_restorer_travels_and_loads_there(lows):
    here = open_restorer(FIE, CPU)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        there = executor.submit(here.restore, lows[:1]).result(timeout=120)
    assert off(here.restore(lows[:1])[0], there[0])[0] <= 1
