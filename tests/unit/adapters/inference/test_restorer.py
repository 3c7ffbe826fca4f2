"""The enhancer as served: shapes, repeatability, and that it earns its place on a real slide."""

import pickle
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from adaslide.adapters.inference.onnx import planes_of
from adaslide.adapters.inference.weights import weights_named
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.restorers.onnx import OnnxRestorer, with_residual
from adaslide.adapters.rungs.image_codec import image_of
from adaslide.adapters.rungs.restored import RestoredRung, degraded
from adaslide.domain.errors import ModelError
from adaslide.domain.pixels import shrink
from adaslide.domain.rung import THREE_QUARTERS, Codec, Rung, RungSpec
from adaslide.ports.rungs import PatchSource

LOSSLESS = RungSpec(Rung.X4, Codec.PNG, 4)


@pytest.fixture(scope="module")
def restorer():
    return OnnxRestorer.of(weights_named("fie-compact-x4"))


@pytest.fixture(scope="module")
def patch(sample_pixels):
    return sample_pixels[1000:1256, 800:1056]


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_shape_and_type(restorer):
    low = np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8)
    (restored,) = restorer.restore([low])
    assert restored.shape == (80, 48, 3)
    assert restored.dtype == np.uint8
    assert restorer.scale == 4
    assert len(restorer.digest) == 32


def test_a_patch_does_not_depend_on_its_batch(restorer, patch):
    low = degraded(patch, LOSSLESS)
    other = low[:32, :48]
    first, second = restorer.restore([low, other])
    np.testing.assert_array_equal(first, restorer.restore([low])[0])
    np.testing.assert_array_equal(second, restorer.restore([other])[0])
    assert restorer.restore([]) == []


@pytest.mark.parametrize("name", ["fie-compact-x4", "fie-compact-x2"])
def test_patches_stacked_in_one_call_are_those_of_single_calls(sample_pixels, name):
    """What a runtime that shares calls would do, on tissue: the reference bears it."""
    restorer = OnnxRestorer.of(weights_named(name))
    patches = [sample_pixels[y : y + 480, x : x + 480] for y in (480, 960) for x in (480, 960)]
    lows = [shrink(patch, restorer.scale) for patch in patches]
    residuals = restorer.model.run(np.concatenate([planes_of(low) for low in lows]))
    bases = BicubicRestorer(restorer.scale).restore(lows)
    for base, residual, alone in zip(bases, residuals, restorer.restore(lows), strict=True):
        assert np.abs(with_residual(base, residual).astype(int) - alone).max() <= 1


FOLDED = {"fie-folded-x2": 2, "fie-folded-x4-3": THREE_QUARTERS}


@pytest.mark.parametrize("name", FOLDED)
def test_a_net_that_folds_its_input_restores_any_size(sample_pixels, name):
    """Sides that it cannot fold have their edge repeated; far from it, that changes nothing."""
    restorer = OnnxRestorer.of(weights_named(name))
    assert restorer.scale == FOLDED[name]
    cell = Fraction(restorer.scale).denominator
    low = sample_pixels[1000 : 1000 + 67 * cell, 900 : 900 + 61 * cell]
    (restored,) = restorer.restore([low])
    assert restored.shape == (int(low.shape[0] * restorer.scale), int(low.shape[1] * restorer.scale), 3)
    even = low[: 48 * cell, : 48 * cell]
    (smaller,) = restorer.restore([even])
    reach = int(16 * cell * restorer.scale)
    assert np.abs(smaller[:reach, :reach].astype(int) - restored[:reach, :reach]).max() <= 1


@pytest.mark.parametrize("name", FOLDED)
def test_folded_nets_are_better_than_bicubic_from_what_packages_store(patch, name):
    restorer = OnnxRestorer.of(weights_named(name))
    rung = {2: Rung.X2, THREE_QUARTERS: Rung.X4_3}[restorer.scale]
    whole = patch[:240, :240]
    low = degraded(whole, RungSpec(rung, Codec.AVIF, restorer.scale, 25))
    net, bicubic = (psnr(r.restore([low])[0], whole) for r in (restorer, BicubicRestorer(restorer.scale)))
    assert net > bicubic + 0.2


def test_it_travels(restorer):
    assert pickle.loads(pickle.dumps(restorer)) == restorer


def test_flat_stays_flat(restorer):
    """Glass must not come back with a texture."""
    (restored,) = restorer.restore([np.full((32, 32, 3), 240, np.uint8)])
    assert np.abs(restored.astype(int) - 240).max() <= 4


def test_better_than_bicubic_on_a_slide_it_has_not_seen(restorer, patch):
    low = degraded(patch, LOSSLESS)
    net, bicubic = (psnr(r.restore([low])[0], patch) for r in (restorer, BicubicRestorer(4)))
    assert net > bicubic + 0.5


def test_residuals_are_rounded_and_clipped():
    base = np.array([[[0, 255, 100]]], np.uint8)
    residual = np.array([-1, 1, 0.5 / 255 + 1e-4], np.float32).reshape(3, 1, 1)
    np.testing.assert_array_equal(with_residual(base, residual), [[[0, 255, 101]]])


@pytest.mark.parametrize(
    "spec",
    [
        LOSSLESS,
        RungSpec(Rung.X4, Codec.AVIF, 4, 45),
        RungSpec(Rung.X2, Codec.AVIF, 2, 30),
        RungSpec(Rung.PAPER_COMPRESS, Codec.PNG, 4),
    ],
)
def test_degraded_is_what_the_payload_holds(patch, spec):
    payload = RestoredRung().encode(PatchSource(patch, 256, 256), spec)
    np.testing.assert_array_equal(degraded(patch, spec), image_of(payload, 256)[1])


@pytest.mark.parametrize(
    "table", [{}, {"scale": 3}, {"scale": "x"}, {"scale": 2, "fold": "x"}, {"scale": []}]
)
def test_restorers_of_no_known_scale_are_refused(table):
    weights = weights_named("fie-compact-x4")
    with pytest.raises(ModelError):
        OnnxRestorer.of(type(weights)("x", "restorer", weights.path, weights.digest, table))


def test_other_kinds_of_weights_are_refused():
    weights = weights_named("fie-compact-x4")
    with pytest.raises(ModelError):
        OnnxRestorer.of(type(weights)("judge", "segmenter", weights.path, weights.digest, {}))
