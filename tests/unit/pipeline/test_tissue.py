from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from adaslide.domain.geometry import Size
from adaslide.pipeline.glass import DEFAULT_GLASS, is_constant
from adaslide.pipeline.tissue import Thumbnail, glass_colour, tissue_fraction, tissue_mask

SAMPLE = Path(__file__).parents[3] / "samples" / "CMU-1-Small-Region.svs"
GLASS = (243, 241, 244)


@pytest.fixture(scope="module")
def slide():
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def small(slide):
    return np.asarray(Image.fromarray(slide).reduce(4))


def glass(height: int, width: int, noise: float = 1.0, colour=GLASS, seed: int = 0):
    random = np.random.default_rng(seed)
    pixels = np.array(colour) + random.normal(0, noise, (height, width, 3))
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def faded(texture, opacity: float, noise: float = 0.7):
    """Real texture seen through glass: what fat and mucus look like, as far as contrast goes."""
    ground = glass(*texture.shape[:2], noise=noise).astype(float)
    return np.rint(ground * (1 - opacity) + opacity * texture).astype(np.uint8)


def test_the_sample_slide(slide, small):
    mask = tissue_mask(Thumbnail.of(small))
    assert 0.30 < mask.mean() < 0.42
    assert mask[300:500, 280:330].mean() > 0.9, "the solid epithelium"
    assert mask[:700, :40].mean() < 0.05, "glass at the left edge, but for some debris"
    assert all(level in range(241, 247) for level in glass_colour(Thumbnail.of(small), mask))


@pytest.mark.parametrize("noise", [0.0, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("colour", [GLASS, (228, 226, 222), (250, 244, 232)])
def test_glass_alone_has_no_tissue(noise, colour):
    pixels = glass(400, 500, noise, colour)
    mask = tissue_mask(Thumbnail.of(pixels))
    assert mask.sum() == 0
    assert np.abs(np.subtract(glass_colour(Thumbnail.of(pixels), mask), colour)).max() < 3


def test_uneven_light_is_not_tissue():
    fall = np.linspace(0, 5, 500)[None, :, None]
    pixels = (glass(400, 500) - fall).astype(np.uint8)
    assert tissue_mask(Thumbnail.of(pixels)).mean() < 0.001


def test_tissue_alone_is_not_halved(slide):
    solid = slide[860:1156, 1140:1430]
    assert (np.ptp(solid, axis=2) > 24).mean() > 0.97, "the test's own picture is tissue throughout"
    assert tissue_mask(Thumbnail.of(solid)).mean() > 0.97
    assert glass_colour(Thumbnail.of(solid), np.ones(solid.shape[:2], bool)) == DEFAULT_GLASS


def test_faint_tissue_is_found_beside_strong_tissue(slide):
    picture = glass(900, 900)
    picture[100:400, 100:400] = slide[860:1160, 1140:1440]
    picture[500:800, 500:800] = faded(slide[860:1160, 1140:1440], 0.12)
    mask = tissue_mask(Thumbnail.of(picture))
    assert mask[110:390, 110:390].mean() > 0.97
    assert mask[510:790, 510:790].mean() > 0.9
    mask[95:405, 95:405] = mask[495:805, 495:805] = False
    assert mask.sum() == 0


def test_black_ink_is_not_glass():
    picture = glass(300, 300)
    picture[100:120, 50:250] = 20
    assert tissue_mask(Thumbnail.of(picture))[105:115, 60:240].all()


def test_holes_and_specks_follow_their_rules():
    picture = glass(300, 300, noise=0)
    picture[50:250, 50:250] = (180, 90, 150)
    picture[100:106, 100:106] = GLASS
    picture[150:190, 150:190] = GLASS
    picture[10, 10] = (180, 90, 150)
    mask = tissue_mask(Thumbnail.of(picture))
    assert mask[100:106, 100:106].all(), "a hole of some pixels belongs to the tissue"
    assert not mask[155:185, 155:185].any(), "a large one is glass"
    assert not mask[5:15, 5:15].any(), "a single pixel is a speck"


@given(
    height=st.integers(40, 400),
    width=st.integers(40, 400),
    patch=st.integers(16, 100),
    shrink=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_fractions_add_up_to_the_mask(height, width, patch, shrink, seed):
    size = Size(width, height)
    mask = np.random.default_rng(seed).random((-(-height // shrink), -(-width // shrink))) < 0.4
    share = tissue_fraction(mask, size, patch)
    assert share.dtype == np.float32
    assert share.shape == (-(-height // patch), -(-width // patch))
    assert share.min() >= 0
    assert share.max() <= 1
    rows = np.minimum(np.arange(1, share.shape[0] + 1) * patch, height) - np.arange(share.shape[0]) * patch
    cols = np.minimum(np.arange(1, share.shape[1] + 1) * patch, width) - np.arange(share.shape[1]) * patch
    assert (share * np.outer(rows, cols)).sum() / (height * width) == pytest.approx(mask.mean(), abs=1e-4)


def test_fraction_is_zero_only_where_there_is_nothing():
    mask = np.zeros((100, 100), bool)
    mask[33, 66] = True
    share = tissue_fraction(mask, Size(1000, 1000), 100)
    assert share[3, 6] == pytest.approx(0.01)
    assert np.count_nonzero(share) == 1


def test_fraction_is_zero_between_pixels_too():
    mask = np.zeros((4, 12), bool)
    mask[1, :5] = True
    share = tissue_fraction(mask, Size(4608, 1536), 512)
    assert share[0, 3] > 0
    assert np.count_nonzero(share[:, 4:]) == 0


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("shape", [(512, 512), (480, 60), (7, 480)])
def test_glass_is_constant(noise, shape):
    assert is_constant(glass(*shape, noise=noise), (243,) * 3)


def test_real_glass_is_constant_and_every_patch_with_tissue_is_not(slide, small):
    assert is_constant(slide[1920:2400, 0:480], (243,) * 3)
    share = tissue_fraction(tissue_mask(Thumbnail.of(small)), Size(slide.shape[1], slide.shape[0]), 240)
    for (row, col), tissue in np.ndenumerate(share):
        if tissue > 0.02:
            assert not is_constant(
                slide[row * 240 : row * 240 + 240, col * 240 : col * 240 + 240], (243,) * 3
            )


@pytest.mark.parametrize("opacity", [0.03, 0.06, 0.12])
def test_faint_real_tissue_never_vanishes(slide, opacity):
    for y, x in ((1000, 1000), (1500, 900), (2300, 900), (2400, 1300)):
        pixels = faded(slide[y : y + 480, x : x + 480], opacity)
        fill = round(float(np.median(pixels)))
        assert not is_constant(pixels, fill), (y, x)


def test_fat_keeps_its_thin_walls():
    """Empty cells of 100 px with walls of 3 px, 18 grey levels darker than glass, as fat has."""
    ys, xs = np.mgrid[:512, :512]
    walls = ((ys % 100) < 3) | ((xs % 100) < 3)
    pixels = glass(512, 512).astype(int) - 18 * walls[..., None]
    assert not is_constant(pixels.astype(np.uint8), (243,) * 3)


def test_mucus_keeps_its_clouds():
    """Soft clouds of five grey levels, without any edge."""
    random = np.random.default_rng(3)
    cloud = ndimage.gaussian_filter(random.standard_normal((512, 512)), 40)
    cloud = 5 * (cloud - cloud.min()) / np.ptp(cloud)
    pixels = np.rint(glass(512, 512) - cloud[..., None]).astype(np.uint8)
    assert not is_constant(pixels, (242,) * 3)


def test_one_small_fragment_in_a_corner_is_enough(slide):
    pixels = glass(512, 512)
    pixels[490:502, 3:15] = faded(slide[1200:1212, 1100:1112], 0.3)
    assert not is_constant(pixels, (243,) * 3)


def test_another_colour_than_the_fill_is_not_background():
    assert not is_constant(glass(512, 512, colour=(232, 230, 233)), (243,) * 3)
    assert not is_constant(glass(512, 512, colour=(250, 244, 230)), (242,) * 3)
