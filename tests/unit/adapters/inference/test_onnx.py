"""Sessions: opened late, checked first, carried to other processes by name."""

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from adaslide.adapters.inference.onnx import OnnxModel, verified
from adaslide.adapters.inference.weights import weights_named
from adaslide.domain.errors import DigestMismatch, WeightsMissing


@pytest.fixture(scope="module")
def model():
    weights = weights_named("fie-compact-x4")
    return OnnxModel(weights.path, weights.digest)


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).random((2, 3, 24, 40), np.float32)


def test_batch_height_and_width_are_free(model, batch):
    out = model.run(batch)
    assert out.shape == (2, 3, 96, 160)
    assert out.dtype == np.float32
    assert model.run(batch[:1, :, :9, :7]).shape == (1, 3, 36, 28)


def test_runs_give_the_same_bits(model, batch):
    once = model.run(batch)
    np.testing.assert_array_equal(model.run(batch), once)
    np.testing.assert_array_equal(model.run(batch[1:]), once[1:])


def test_the_number_of_threads_does_not_show(model, batch):
    np.testing.assert_allclose(replace(model, threads=2).run(batch), model.run(batch), atol=1e-5)


def test_a_model_travels_to_another_process(model, batch):
    here = model.run(batch)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        there = executor.submit(model.run, batch).result(timeout=60)
        assert executor.submit(os.getpid).result(timeout=60) != os.getpid()
    np.testing.assert_array_equal(here, there)
    assert pickle.loads(pickle.dumps(model)) == model


def test_making_a_model_reads_nothing(tmp_path):
    OnnxModel(tmp_path / "absent.onnx", bytes(32))


def test_other_weights_are_not_run(model, batch):
    with pytest.raises(DigestMismatch):
        replace(model, digest=bytes(32)).run(batch)


def test_damaged_weights_are_not_parsed(model, batch, tmp_path):
    damaged = bytearray(model.path.read_bytes())
    damaged[-100] ^= 1
    path = tmp_path / model.path.name
    path.write_bytes(damaged)
    with pytest.raises(DigestMismatch):
        replace(model, path=path).run(batch)


def test_missing_weights_say_so(model, batch, tmp_path):
    with pytest.raises(WeightsMissing):
        replace(model, path=tmp_path / "absent.onnx").run(batch)


def test_verified_gives_the_bytes_it_checked(model):
    assert verified(model.path, model.digest) == model.path.read_bytes()
