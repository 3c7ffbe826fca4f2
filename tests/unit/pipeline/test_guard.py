"""What the models learned passes, on real slides; other stains, blur, noise and no tissue at all do not."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from scipy.ndimage import gaussian_filter

from adaslide.domain.decision import PatchFlag
from adaslide.domain.policy import Policy
from adaslide.pipeline.guard import Guard, at_scale, sharpness, stains

GLASS = (243, 243, 243)
GUARD = Guard(Policy(), 0.5, GLASS)
PICTURES = Path(skimage.__file__).parent / "data"
# Optical densities of stains (Ruifrok & Johnston 2001).
HAEMATOXYLIN, EOSIN, REST = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
DAB, PONCEAU, BLACK = (0.27, 0.57, 0.78), (0.10, 0.74, 0.66), (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def tissue(sample_pixels):
    """The sample's patches with tissue."""
    corners = [(y, x) for y in range(0, 2400, 512) for x in range(0, 1700, 512)]
    patches = [sample_pixels[y : y + 512, x : x + 512] for y, x in corners]
    return [patch for patch in patches if patch.std() > 15]


@cache
def picture(name):
    return np.asarray(Image.open(PICTURES / name).convert("RGB"))[:512, :512]


def with_eosin_replaced(pixels, stain):
    """As if the other dye had been used in the place of eosin."""
    basis = np.array([row / np.linalg.norm(row) for row in np.array([HAEMATOXYLIN, EOSIN, REST])])
    amounts = -np.log10((pixels.astype(float) + 1) / 256) @ np.linalg.inv(basis)
    basis[1] = np.array(stain) / np.linalg.norm(stain)
    return np.clip(256 * 10 ** -(amounts @ basis) - 1, 0, 255).astype(np.uint8)


def blurred(pixels, sigma):
    return np.rint(gaussian_filter(pixels.astype(float), (sigma, sigma, 0))).astype(np.uint8)


def test_haematoxylin_and_eosin_pass(tissue):
    assert len(tissue) > 10
    assert {GUARD.barred(patch) for patch in tissue} == {PatchFlag.NONE}


def test_what_training_varied_passes(tissue, np_random):
    """A softer scanner, a noisier one and a stronger stain are no strangers."""
    for patch in tissue[:6]:
        noise = np_random.normal(0, 3, patch.shape)
        for seen in (blurred(patch, 1.0), np.clip(patch + noise, 0, 255).astype(np.uint8)):
            assert GUARD.barred(seen) is PatchFlag.NONE


@pytest.mark.parametrize("stain", [DAB, PONCEAU, BLACK])
def test_another_dye_is_told_on_most_patches(tissue, stain):
    found = [GUARD.barred(with_eosin_replaced(patch, stain)) for patch in tissue]
    assert sum(PatchFlag.UNKNOWN_STAIN in flags for flags in found) >= 0.7 * len(found)
    assert GUARD.of_most(with_eosin_replaced(patch, stain) for patch in tissue) is PatchFlag.UNKNOWN_STAIN


def test_a_real_immunostain_is_told():
    assert PatchFlag.UNKNOWN_STAIN in GUARD.barred(picture("ihc.png"))
    assert stains(picture("ihc.png"), GLASS)[1] > 0.9


@pytest.mark.parametrize(
    "name", ["retina.jpg", "coffee.png", "astronaut.png", "chelsea.png", "page.png", "text.png", "cell.png"]
)
def test_what_is_no_tissue_is_told(name):
    assert PatchFlag.UNKNOWN_STAIN in GUARD.barred(picture(name))


@pytest.mark.parametrize("colour", [(20, 20, 20), (30, 60, 200), (30, 140, 60)])
def test_ink_is_told(tissue, colour):
    inked = tissue[0].copy()
    inked[:, :200] = colour
    assert PatchFlag.UNKNOWN_STAIN in GUARD.barred(inked)


@pytest.mark.parametrize("sigma", [2.5, 5, 10, 20])
def test_out_of_focus_is_told(tissue, sigma):
    full = [patch for patch in tissue if stains(patch, GLASS)[0] > 0.25]
    assert len(full) > 6
    assert {GUARD.barred(blurred(patch, sigma)) for patch in full} == {PatchFlag.UNKNOWN_FOCUS}
    assert GUARD.of_most(blurred(patch, sigma) for patch in full) is PatchFlag.UNKNOWN_FOCUS


def test_focus_is_judged_at_one_scale(tissue):
    """A slide of four times the pixels is soft at its finest, and not out of focus."""
    for patch in tissue[:4]:
        large = np.asarray(Image.fromarray(patch).resize((1024, 1024), Image.Resampling.BICUBIC))
        assert Guard(Policy(), 0.25, GLASS).barred(large) is PatchFlag.NONE


@pytest.mark.parametrize("mpp", [0.23, 0.34, 0.4, 0.5, 0.55])
def test_slides_of_every_scale_are_looked_at_alike(tissue, mpp):
    """As another scanner of the same tissue would sample it: in focus at its own scale."""
    side = round(512 * 0.5 / mpp)
    for patch in tissue[:6]:
        seen = np.asarray(Image.fromarray(patch).resize((side, side), Image.Resampling.BICUBIC))
        assert Guard(Policy(), mpp, GLASS).barred(seen) is PatchFlag.NONE
        assert abs(at_scale(seen, mpp).shape[0] - 512) <= 512 * 0.15


def test_noise_is_told(tissue, np_random):
    noisy = np.clip(tissue[0] + np_random.normal(0, 60, tissue[0].shape), 0, 255).astype(np.uint8)
    assert PatchFlag.UNKNOWN_FOCUS in GUARD.barred(noisy)


def test_glass_is_not_judged():
    glass = np.full((512, 512, 3), 243, np.uint8)
    assert stains(glass, GLASS) == (0, 0)
    assert sharpness(glass) is None
    assert GUARD.barred(glass) is PatchFlag.NONE
    assert GUARD.of_most([]) is PatchFlag.NONE


@pytest.mark.parametrize("side", [1, 3, 5, 37])
def test_narrow_patches_at_the_edge_are_judged_or_left(side):
    pixels = np.zeros((side, 512, 3), np.uint8)
    assert isinstance(GUARD.barred(pixels), PatchFlag)


def test_one_strange_patch_does_not_make_a_strange_slide(tissue):
    assert GUARD.of_most([tissue[0], tissue[1], picture("ihc.png")]) is PatchFlag.NONE
    assert GUARD.of_most([tissue[0], picture("ihc.png"), picture("ihc.png")]) is PatchFlag.UNKNOWN_STAIN


@pytest.fixture
def np_random():
    return np.random.default_rng(0)
