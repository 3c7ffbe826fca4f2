"""The gate: what passes, what does not, and that every released net has tiles to be checked on."""

import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest

pytest.importorskip("onnxruntime")

from adaslide.adapters.inference.golden import (
    DICE_LOSS,
    FOLDER,
    KINDS,
    MAX_DIFFERENCE,
    MEAN_DIFFERENCE,
    MaskTile,
    PixelTile,
    check_canonical,
    check_restorer,
    check_segmenter,
    folder_of,
    mask_tiles,
    pixel_tiles,
    save_tiles,
)
from adaslide.adapters.inference.weights import pinned, released, weights_named
from adaslide.adapters.restorers.bicubic import BicubicRestorer
from adaslide.adapters.segmenters.otsu import OtsuSegmenter
from adaslide.domain.errors import ModelError, RuntimeMismatch, WeightsMissing

FIE, JUDGE = weights_named("fie-compact-x4"), weights_named("nuclei-unet")
CHECKED = [weights for weights in released() if weights.kind in KINDS]


@dataclass(frozen=True)
class Recorded:
    """Gives the golden tiles' own answers, after ``spoil`` has had them; `Restorer` and `Segmenter`."""

    tiles: list
    spoil: object
    scale: int = 4
    name: str = "recorded"

    def restore(self, batch):
        assert len(batch) == len(self.tiles)
        restored = []
        for low, tile in zip(batch, self.tiles, strict=True):
            image = np.zeros((low.shape[0] * 4, low.shape[1] * 4, 3), np.uint8)
            tile.of(image)[:] = self.spoil(tile.expected.copy())
            restored.append(image)
        return restored

    def masks(self, images, mpp):
        return [self.spoil(tile.expected.copy()) for tile in self.tiles if tile.mpp == mpp]


@pytest.fixture(scope="module")
def pixels():
    return pixel_tiles(FIE)


@pytest.fixture(scope="module")
def masks():
    return mask_tiles(JUDGE)


@pytest.fixture
def copied(tmp_path):
    """The released enhancer in a folder of its own, tiles and all, that a test may damage."""
    copy = replace(FIE, path=tmp_path / FIE.path.name)
    shutil.copy(FIE.path, copy.path)
    shutil.copytree(folder_of(FIE), folder_of(copy))
    return copy


@pytest.mark.parametrize("weights", CHECKED, ids=lambda weights: weights.name)
def test_every_released_net_gives_its_golden_tiles(weights):
    assert check_canonical(weights).tiles >= 3


def test_golden_tiles_are_small_and_none_is_left_over():
    folder = FIE.path.parent / FOLDER
    assert {path.name for path in folder.iterdir()} == {pinned(weights) for weights in CHECKED}
    for own in folder.iterdir():
        assert sum(path.stat().st_size for path in own.iterdir()) < 150_000, own.name


def test_tiles_hold_something_to_check(pixels, masks):
    assert all(tile.expected.std() > 8 for tile in pixels)
    assert any(tile.low.shape == (128, 128, 3) for tile in pixels)  # what is served
    assert any(side % 2 for tile in pixels for side in tile.low.shape[:2])
    assert all(0.05 < tile.expected.mean() < 0.6 for tile in masks)
    assert any(tile.mpp < 0.4 for tile in masks)
    assert any(tile.mpp > 0.6 for tile in masks)


def test_the_same_pixels_pass(pixels, masks):
    same = check_restorer(Recorded(pixels, lambda image: image), pixels)
    assert (same.tiles, same.greatest, same.mean) == (len(pixels), 0, 0)
    alike = check_segmenter(Recorded(masks, lambda mask: mask), masks)
    assert (alike.tiles, alike.differing, alike.dice_loss) == (len(masks), 0, 0)


def moved(grey_levels, every):
    """Every ``every``-th sample nearer to middle grey by ``grey_levels``."""

    def spoil(image):
        samples = image.reshape(-1)[::every]
        samples[:] = np.where(samples < 128, samples + grey_levels, samples - grey_levels)
        return image

    return spoil


@pytest.mark.parametrize(("grey_levels", "every"), [(MAX_DIFFERENCE, 5000), (1, 5)])
def test_last_digits_pass(pixels, grey_levels, every):
    parity = check_restorer(Recorded(pixels, moved(grey_levels, every)), pixels)
    assert parity.greatest == grey_levels
    assert 0 < parity.mean <= MEAN_DIFFERENCE


@pytest.mark.parametrize(("grey_levels", "every"), [(MAX_DIFFERENCE + 1, 5000), (1, 3)])
def test_more_than_last_digits_do_not(pixels, grey_levels, every):
    with pytest.raises(RuntimeMismatch, match=f"off by {grey_levels} grey levels"):
        check_restorer(Recorded(pixels, moved(grey_levels, every)), pixels)


def test_one_bad_tile_is_enough(pixels):
    only_last = [replace(tile) for tile in pixels]
    spoiled = replace(only_last[-1], expected=255 - only_last[-1].expected)
    with pytest.raises(RuntimeMismatch):
        check_restorer(Recorded([*only_last[:-1], spoiled], lambda image: image), pixels)


@pytest.mark.parametrize("scale", [2, 4])
def test_another_restorer_is_refused(pixels, scale):
    with pytest.raises(RuntimeMismatch) as caught:
        check_restorer(BicubicRestorer(scale), pixels)
    assert caught.value.code == "runtime-mismatch"
    assert isinstance(caught.value, ModelError)


def flipped(share):
    """The first ``share`` of the nuclei's pixels missing, at least one."""

    def spoil(mask):
        nuclei = np.flatnonzero(mask)
        mask.reshape(-1)[nuclei[: max(1, round(share * nuclei.size))]] = False
        return mask

    return spoil


def test_a_pixel_on_the_edge_passes(masks):
    parity = check_segmenter(Recorded(masks, flipped(0)), masks)
    assert 0 < parity.dice_loss <= DICE_LOSS


def test_more_than_a_few_pixels_do_not(masks):
    with pytest.raises(RuntimeMismatch):
        check_segmenter(Recorded(masks, flipped(2.5 * DICE_LOSS)), masks)


def test_nuclei_on_glass_are_called_out():
    glass = MaskTile(np.full((64, 64, 3), 240, np.uint8), np.zeros((64, 64), bool), 0.5)
    spotted = np.zeros((64, 64), bool)
    spotted[:3, :3] = True
    with pytest.raises(RuntimeMismatch):
        check_segmenter(Recorded([replace(glass, expected=spotted)], lambda mask: mask), [glass])


def test_another_judge_is_refused(masks):
    with pytest.raises(RuntimeMismatch):
        check_segmenter(OtsuSegmenter(), masks)
    with pytest.raises(RuntimeMismatch):
        check_segmenter(Recorded(masks, lambda mask: mask[1:]), masks)


def test_without_tiles_nothing_passes():
    with pytest.raises(RuntimeMismatch):
        check_restorer(BicubicRestorer(4), [])
    with pytest.raises(RuntimeMismatch):
        check_segmenter(OtsuSegmenter(), [])


def test_another_training_has_no_tiles_yet(copied):
    with pytest.raises(WeightsMissing):
        pixel_tiles(replace(copied, digest=bytes(32)))
    same_prefix = replace(copied, digest=copied.digest[:-1] + b"\0")
    with pytest.raises(ModelError, match="other weights"):
        pixel_tiles(same_prefix)


@pytest.mark.parametrize(
    "text", ["x", "tile = 1", 'sha256 = "DIGEST"', 'sha256 = "DIGEST"\ntile = [{input = "0.png"}]']
)
def test_a_list_that_cannot_be_used(copied, text):
    (folder_of(copied) / "tiles.toml").write_text(text.replace("DIGEST", copied.digest.hex()))
    with pytest.raises(ModelError):
        pixel_tiles(copied)


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda data: b"no image"])
def test_a_tile_that_cannot_be_read(copied, damage):
    path = folder_of(copied) / "0.png"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"0\.png"):
        pixel_tiles(copied)


def test_tiles_come_back_as_they_were_saved(copied, masks, tmp_path):
    chance = np.random.default_rng(0)
    low, expected = (chance.integers(0, 256, (*size, 3), np.uint8) for size in ((9, 7), (20, 16)))
    saved = [PixelTile(low, expected, (16, 12)), PixelTile(low, expected[:4])]
    shutil.rmtree(folder_of(copied))
    save_tiles(copied, saved, runtime="none", source="noise")
    for tile, again in zip(saved, pixel_tiles(copied), strict=True):
        assert tile.at == again.at
        np.testing.assert_array_equal(tile.low, again.low)
        np.testing.assert_array_equal(tile.expected, again.expected)
    judge = replace(JUDGE, path=tmp_path / JUDGE.path.name)
    save_tiles(judge, masks, runtime="none", source="noise")
    for tile, again in zip(masks, mask_tiles(judge), strict=True):
        assert tile.mpp == again.mpp
        np.testing.assert_array_equal(tile.image, again.image)
        np.testing.assert_array_equal(tile.expected, again.expected)
