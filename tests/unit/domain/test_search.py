"""Bisection through a ladder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.fidelity import IDENTICAL
from adaslide.domain.search import Bisection, Tried


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
