"""Which steps are taken for a size: any patches, any steps, any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.profile import LOSS_PRICE
from adaslide.domain.steps import Climb, hull

PATCH = st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 20)), min_size=1, max_size=8)
"""By how much each step has more bytes, and Dice in hundredths, than the one before."""


def steps_of(rises):
    sizes = np.cumsum([more for more, _ in rises])
    dice = np.minimum(np.cumsum([50, *(gain for _, gain in rises[1:])]) / 100, 1.0).astype(np.float32)
    return [(int(size), float(one)) for size, one in zip(sizes, dice, strict=True)]


def slide_of(patches):
    """(climb, steps of each patch's hull, whole bytes)."""
    steps = [steps_of(rises) for rises in patches]
    kept = [[own[place] for place in hull(own)] for own in steps]
    whole = np.array([own[-1][0] for own in steps])
    sizes = np.array([size for own in kept for size, _ in own])
    dice = np.array([one for own in kept for _, one in own], np.float32)
    return Climb.of(np.array([len(own) for own in kept], np.uint8), sizes, dice, whole), kept, whole


@given(PATCH, st.floats(0, 1e6))
def test_what_any_price_would_keep_is_on_the_hull(rises, price):
    steps = steps_of(rises)
    kept = hull(steps)
    assert kept[0] == 0
    assert kept[-1] == len(steps) - 1
    assert kept == sorted(set(kept))
    cost = [size + price * (1 - one) for size, one in steps]
    assert min(cost[place] for place in kept) == pytest.approx(min(cost), rel=1e-9)


def test_a_step_that_a_dearer_one_makes_pointless_is_none():
    assert hull([(100, 0.8), (200, 0.81), (300, 0.9)]) == [0, 2]
    assert hull([(100, 0.8), (200, 0.88), (300, 0.9)]) == [0, 1, 2]
    assert hull([(100, 0.9)]) == [0]


@given(st.lists(PATCH, min_size=1, max_size=12))
def test_the_steps_taken_have_the_bytes_that_are_told(patches):
    climb, kept, _ = slide_of(patches)
    for taken in range(len(climb.patch) + 1):
        steps = climb.steps(taken, len(kept))
        assert sum(own[step][0] for own, step in zip(kept, steps, strict=True)) == climb.total[taken]
    assert [own[0] for own in kept] == [
        own[s] for own, s in zip(kept, climb.steps(0, len(kept)), strict=True)
    ]
    assert (steps == [len(own) - 1 for own in kept]).all()


@given(st.lists(PATCH, min_size=1, max_size=12))
def test_no_step_is_taken_before_a_cheaper_one(patches):
    climb, kept, whole = slide_of(patches)
    assert (np.diff(climb.lambdas[np.isfinite(climb.lambdas)]) >= 0).all()
    at = np.zeros(len(kept), int)
    for patch, told in zip(climb.patch, climb.lambdas, strict=True):
        (low, worse), (high, better) = kept[patch][at[patch] : at[patch] + 2]
        if better > worse:
            assert told == pytest.approx((high - low) / (better - worse) / (LOSS_PRICE * whole[patch]))
        else:
            assert told == np.inf
        at[patch] += 1


@given(st.lists(PATCH, min_size=1, max_size=12), st.lists(st.floats(0, 2e5), min_size=2, max_size=9))
def test_a_smaller_size_never_gives_a_patch_more_bytes(patches, sizes):
    climb, kept, _ = slide_of(patches)
    chosen = [climb.steps(climb.nearest(size), len(kept)) for size in sorted(sizes)]
    assert (np.diff(chosen, axis=0) >= 0).all()
    prices = [climb.lambda_at(climb.nearest(size)) for size in sorted(sizes)]
    assert prices == sorted(prices)


@given(st.lists(PATCH, min_size=1, max_size=12), st.floats(0, 2e5))
def test_nothing_is_nearer_than_what_is_taken(patches, size):
    climb, _, _ = slide_of(patches)
    off = np.abs(climb.total - size)
    assert off[climb.nearest(size)] == off.min()
    if climb.total[0] <= size <= climb.total[-1]:
        assert off.min() <= np.diff(climb.total, prepend=climb.total[0]).max() / 2


def test_what_wins_no_dice_is_taken_last_and_has_no_price():
    climb = Climb.of(
        np.array([2, 3]), np.array([10, 90, 10, 20, 60]), np.array([1, 1, 0.8, 0.9, 1]), np.array([90, 60])
    )
    assert climb.patch.tolist() == [1, 1, 0]
    assert climb.total.tolist() == [20, 30, 70, 150]
    assert climb.lambda_at(3) == climb.lambda_at(2) == pytest.approx(40 / 0.1 / (LOSS_PRICE * 60))
    assert climb.lambda_at(0) == 0


def test_patches_without_a_choice_have_no_steps_up():
    climb = Climb.of(np.array([1, 1]), np.array([0, 7]), np.array([np.nan, np.nan]), np.array([0, 0]))
    assert (climb.total.tolist(), climb.nearest(1e9), climb.steps(0, 2).tolist()) == ([7], 0, [0, 0])
