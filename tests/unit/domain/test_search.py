"""Bisection through a ladder."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.fidelity import IDENTICAL
from adaslide.domain.search import Bisection, Dial, Ground, Tried, cheapest


def followed(search, holds):
    """The places measured, in their order."""
    tried = {}
    while (place := search.next(tried)) is not None:
        assert place not in tried
        tried[place] = Tried(100 + place, IDENTICAL, held=holds(place))
    return list(tried)


@given(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20))
def test_on_a_monotone_ladder_the_first_that_holds_is_found(length, proposed, first):
    places = followed(Bisection(length, proposed), lambda place: place >= first)
    if first < length:
        assert first in places
    assert len(places) <= length
    assert all(0 <= place < length for place in places)


@pytest.mark.parametrize("proposed", range(9))
def test_the_proposal_is_measured_first(proposed):
    assert followed(Bisection(9, proposed), lambda place: place >= 3)[0] == proposed
    assert Bisection(9, proposed).proposed == proposed


def test_one_look_past_a_rung_that_failed_by_chance():
    assert followed(Bisection(8, 4), lambda place: place not in (4, 1, 0)) == [4, 6, 5, 3, 2, 1]


def test_nothing_below_the_lowest_is_tried():
    assert followed(Bisection(6, 3, lowest=3), lambda place: place >= 2) == [3]
    assert followed(Bisection(6, 3, 0.5, lowest=3), lambda place: place >= 5) == [3, 4, 5]


def test_an_empty_ladder_has_nothing_to_try():
    assert followed(Bisection(0, 0), lambda place: True) == []


@given(st.sets(st.integers(0, 9)), st.integers(0, 10), st.integers(0, 10))
def test_below_what_is_kept_a_rung_is_known_to_fail(holding, first, last):
    """Whatever the search left out: it looks at ``first`` to ``last`` alone."""

    class Narrow:
        proposed, p_compress = first, None

        def next(self, tried):
            return next((place for place in range(first, min(last, 10)) if place not in tried), None)

        def kept(self, tried):
            return cheapest(tried)

    search, tried = Ground(Narrow(), 10), {}
    while (place := search.next(tried)) is not None:
        assert place not in tried
        tried[place] = Tried(100 + place, IDENTICAL, held=place in holding)
    kept = search.kept(tried)
    below = range(10 if kept is None else kept)
    assert all(place in tried for place in below) or any(
        place in tried and not tried[place].held for place in below
    )
    assert kept is None or kept in holding


def measured(size, dice, *, held=True):
    return Tried(size, replace(IDENTICAL, dice=dice), held=held)


def dialled(ladder, price, proposed=0):
    """(the rung kept, how many were measured) of a ladder of `Tried`."""
    search, tried = turned(ladder, price, proposed)
    return search.kept(tried), len(tried)


def climbed(ladder, price, proposed=0):
    """For how many bytes the patch would be kept whole."""
    search, tried = turned(ladder, price, proposed)
    return search.cost(tried)


def turned(ladder, price, proposed):
    search, tried = Dial(Bisection(len(ladder), proposed), len(ladder), price), {}
    while (place := search.next(tried)) is not None:
        assert place not in tried
        tried[place] = ladder[place]
    return search, tried


LADDERS = st.lists(
    st.builds(
        lambda size, dice, held: measured(size, dice, held=held),
        st.integers(1, 50_000),
        st.floats(0, 1, width=32),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(LADDERS, st.integers(0, 11), st.lists(st.floats(0, 1e7), min_size=2, max_size=12))
def test_neither_bytes_nor_dice_fall_when_the_price_of_loss_rises(ladder, proposed, prices):
    kept = [dialled(ladder, price, proposed)[0] for price in sorted(prices)]
    assert (None in kept) is (set(kept) == {None})
    if None not in kept:
        assert all(ladder[place].held for place in kept)
        sizes = [ladder[place].bytes for place in kept]
        dice = [ladder[place].fidelity.dice for place in kept]
        assert sizes == sorted(sizes)
        assert dice == sorted(dice)


@given(LADDERS, st.integers(0, 11), st.lists(st.floats(1, 1e7), min_size=2, max_size=12))
def test_what_is_kept_whole_stays_whole_when_the_price_rises(ladder, proposed, prices):
    costs = [climbed(ladder, price, proposed) for price in sorted(prices)]
    assert all(after >= before * (1 - 1e-9) for before, after in pairwise(costs))


def test_a_later_step_does_not_bring_back_what_was_kept_whole():
    """At 26,000 the climb rests at the first step, which costs 6,200. At 51,000 it goes on, and the last
    costs 4,510: less than the whole, which was kept before."""
    ladder = [measured(1000, 0.80), measured(3500, 0.85), measured(4000, 0.99)]
    assert dialled(ladder, 26_000)[0] == 0
    assert climbed(ladder, 26_000) == pytest.approx(6_200)
    assert dialled(ladder, 51_000)[0] == 2
    assert climbed(ladder, 51_000) == pytest.approx(11_000)
    assert climbed([measured(1000, 0.8, held=False)], 5_000) == math.inf


def test_a_step_is_taken_when_it_is_worth_its_bytes():
    ladder = [measured(1000, 0.80), measured(2000, 0.90), measured(4000, 0.92)]
    assert dialled(ladder, 0)[0] == 0
    assert dialled(ladder, 9_000)[0] == 0
    assert dialled(ladder, 11_000)[0] == 1
    assert dialled(ladder, 99_000)[0] == 1
    assert dialled(ladder, 101_000)[0] == 2


def test_rungs_that_are_no_step_do_not_end_the_climb():
    ladder = [
        measured(1000, 0.80),
        measured(900, 0.95),
        measured(3000, 0.9, held=False),
        measured(4000, 0.99),
    ]
    assert dialled(ladder, 0) == (0, 4)
    assert dialled([ladder[0], measured(1500, 0.7), *ladder[2:]], 1e6)[0] == 3


@given(LADDERS, st.integers(0, 11))
def test_without_a_price_the_cheapest_is_kept(ladder, proposed):
    tried, search = {}, Bisection(len(ladder), proposed)
    while (place := search.next(tried)) is not None:
        tried[place] = ladder[place]
    assert dialled(ladder, 0, proposed)[0] == search.kept(tried) == cheapest(tried)
