"""Shrinking is exact, whichever way it is added up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.pixels import block_sums, halved, shrink


def blocks(pixels, factor):
    missing = [(0, -side % factor) for side in pixels.shape[:2]]
    padded = np.pad(pixels, (*missing, (0, 0)), mode="edge").astype(np.int64)
    rows, cols = (side // factor for side in padded.shape[:2])
    return padded.reshape(rows, factor, cols, factor, 3)


@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from([2, 3, 4, 16, 17]), st.integers(0, 255))
def test_blocks_are_added_and_rounded_half_up(height, width, factor, least):
    pixels = np.random.default_rng(height).integers(least, 256, (height, width, 3)).astype(np.uint8)
    sums = blocks(pixels, factor).sum(axis=(1, 3))
    np.testing.assert_array_equal(block_sums(pixels, factor), sums)
    np.testing.assert_array_equal(shrink(pixels, factor), np.floor(sums / factor**2 + 0.5))


@pytest.mark.parametrize("factor", [2, 16, 17, 64])
def test_white_stays_white(factor):
    assert (shrink(np.full((70, 90, 3), 255, np.uint8), factor) == 255).all()


def test_nothing_is_shrunk_by_one():
    pixels = np.zeros((3, 4, 3), np.uint8)
    assert shrink(pixels, 1) is pixels


def test_planes_are_halved():
    plane = np.random.default_rng(0).random((6, 10)).astype(np.float32)
    np.testing.assert_array_equal(halved(plane), plane.reshape(3, 2, 5, 2).mean(axis=(1, 3)))
