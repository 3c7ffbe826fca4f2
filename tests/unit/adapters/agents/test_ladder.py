"""The sequential agent: what it makes of what is foretold, and what its net is shown."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.adapters.agents.ladder import (
    LOOKS,
    PER_RUNG,
    LadderAgent,
    LadderSearch,
    climbs,
    looks,
    looks_at,
    next_rung,
    next_rungs,
    price_at,
    state_of,
)
from adaslide.adapters.inference.weights import Weights, weights_pinned
from adaslide.domain.errors import ModelError
from adaslide.domain.fidelity import IDENTICAL, Floors
from adaslide.domain.profile import PROFILES, profile_named
from adaslide.domain.search import Tried

SIZES = np.array([1000, 2000, 4000, 8000, 16000], np.float32)
NONE = np.zeros(5, bool)
WHOLE = 45_000.0


def array(*values):
    return np.array(values, np.float32)


class TestNextRung:
    def test_a_sure_rung_is_measured_at_once(self):
        assert next_rung(array(0, 0, 1, 1, 1), SIZES, NONE, None, 100, WHOLE) == 2

    def test_a_dear_measurement_makes_it_start_where_it_is_surer(self):
        doubtful = array(0.0, 0.55, 0.95, 1, 1)
        assert next_rung(doubtful, SIZES, NONE, None, 50, WHOLE) == 1
        assert next_rung(doubtful, SIZES, NONE, None, 3000, WHOLE) == 2

    def test_what_holds_is_kept_unless_a_cheaper_one_is_likely_enough(self):
        tried = np.array([0, 0, 0, 1, 0], bool)
        assert next_rung(array(0.0, 0.01, 0.02, 1, 1), SIZES, tried, 8000, 240, WHOLE) is None
        assert next_rung(array(0.0, 0.1, 0.8, 1, 1), SIZES, tried, 8000, 240, WHOLE) == 2

    def test_what_was_measured_is_not_measured_again(self):
        tried = np.array([0, 0, 1, 1, 0], bool)
        assert next_rung(array(0.0, 0.0, 1.0, 1, 1), SIZES, tried, 8000, 240, WHOLE) is None

    def test_what_is_no_cheaper_than_the_whole_patch_is_not_measured(self):
        assert next_rung(array(0, 0, 0, 1, 1), SIZES, NONE, None, 100, 7000) is None
        assert next_rung(array(0, 0, 0, 1, 1), SIZES, NONE, None, 100, 9000) == 3
        assert next_rung(array(0, 0, 0, 0.001, 0.001), SIZES, NONE, None, 100, WHOLE) is None

    def test_nothing_is_left_when_all_were_tried(self):
        assert next_rung(array(1, 1, 1, 1, 1), SIZES, ~NONE, None, 100, WHOLE) is None

    def test_rungs_are_ordered_by_their_own_bytes(self):
        sizes = array(4000, 1000, 2000, 8000, 16000)
        assert next_rung(array(1, 0, 0.9, 1, 1), sizes, NONE, None, 10, WHOLE) == 2

    @given(
        st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5),
        st.lists(st.booleans(), min_size=5, max_size=5),
        st.none() | st.floats(500, 20000),
        st.floats(1, 5000),
    )
    def test_it_is_always_an_untried_rung_or_none(self, chance, tried, kept, price):
        place = next_rung(array(*chance), SIZES, np.array(tried), kept, price, WHOLE)
        assert place is None or not tried[place]

    def test_patches_are_looked_at_alone(self):
        random = np.random.default_rng(5)
        chance = random.random((60, 5)).astype(np.float32)
        size = random.uniform(500, 20000, (60, 5)).astype(np.float32)
        tried = random.random((60, 5)) < 0.4
        kept = np.where(random.random(60) < 0.5, np.inf, random.uniform(500, 20000, 60))
        together = next_rungs(chance, size, tried, kept, np.full(len(kept), 300.0), WHOLE)
        each = [
            next_rung(*one, None if np.isinf(best) else best, 300, WHOLE)
            for *one, best in zip(chance, size, tried, kept, strict=True)
        ]
        assert [None if place < 0 else place for place in together] == each
        assert len(set(each)) == 6


class TestClimb:
    def test_against_all_ways_to_climb(self):
        random = np.random.default_rng(3)
        for _ in range(50):
            chance, price = np.sort(random.random(4)).astype(np.float32), float(random.uniform(50, 5000))
            size = np.sort(random.uniform(500, 20000, 4)).astype(np.float32)
            costs = {way: expected(way, chance, size, price) for way in ways(4)}
            best = min(costs.values())
            firsts = {way[0] for way, cost in costs.items() if cost <= best * (1 + 1e-4)}
            assert climbs(chance[None], size[None], np.array([price]), WHOLE)[0] in firsts


def ways(rungs):
    """Every climb that is not empty: rising places."""
    for bits in range(1, 1 << rungs):
        yield tuple(place for place in range(rungs) if bits >> place & 1)


def expected(way, chance, size, price):
    """Bytes and price of climbing ``way``: the chances are a distribution of the cheapest that holds."""
    total, failed = 0.0, 0.0
    for place in way:
        total += (1 - failed) * price + (chance[place] - failed) * size[place]
        failed = chance[place]
    return total + (1 - failed) * WHOLE


def tried(size, dice, *, held):
    return Tried(size, replace(IDENTICAL, dice=dice), held=held)


def test_a_search_ends_with_the_cheapest_that_the_measurements_left():
    def foretold(found):
        low = 2 if 2 in found else 0
        return array(*(float(place > low) for place in range(5))), SIZES

    search = LadderSearch(foretold, 100, WHOLE)
    assert search.proposed == 1
    assert search.next({}) == 1
    assert search.next({1: tried(2000, 0.7, held=False)}) == 2
    assert search.next({1: tried(2000, 0.7, held=False), 2: tried(4000, 0.8, held=False)}) == 3
    assert search.next({3: tried(8000, 0.9, held=True), 2: tried(4000, 0.8, held=False)}) is None
    assert search.p_compress is None
    assert LadderSearch(foretold, 100, WHOLE, small=(0, 2)).p_compress == 1
    assert LadderSearch(foretold, 100, WHOLE, small=(0,)).p_compress == 0


def test_the_net_is_shown_the_floors_and_what_was_found():
    seen, floors = np.arange(LOOKS, dtype=np.float32), Floors(dice=0.85, ssim=0.5)
    empty = state_of(seen, floors, {}, 3)
    assert empty.shape == (LOOKS + 4 + 3 * PER_RUNG,)
    np.testing.assert_array_equal(empty[:LOOKS], seen)
    np.testing.assert_allclose(empty[LOOKS : LOOKS + 4], [0.85, 0, 0.5, 0])
    assert not empty[LOOKS + 4 :].any()
    told = state_of(seen, floors, {1: tried(5000, 0.8, held=False)}, 3)[LOOKS + 4 :].reshape(3, PER_RUNG)
    assert not told[[0, 2]].any()
    np.testing.assert_allclose(told[1], [1, np.log(5000) - 8.5, -0.5, -0.55, 0], atol=1e-5)


def test_looks_tell_detail_and_colour(sample_pixels):
    patch = sample_pixels[1000:1512, 800:1312]
    flat = np.full_like(patch, patch.mean(axis=(0, 1)).astype(np.uint8))
    detailed, plain = looks(patch), looks(flat)
    assert detailed.shape == plain.shape == (LOOKS,)
    assert (detailed[:4] > 0.5).all()
    np.testing.assert_allclose(plain[:4], 0, atol=1e-3)
    np.testing.assert_allclose(detailed[4:7], plain[4:7], atol=0.01)
    assert np.isfinite(looks(patch[:3, :200])).all()


def test_the_scale_is_told_in_octaves(sample_pixels):
    patch = sample_pixels[1000:1512, 800:1312]
    for mpp, octaves in ((0.5, 0), (0.25, -1), (1.0, 1)):
        seen = looks_at(patch, mpp)
        assert (seen.shape, seen.dtype) == ((LOOKS + 1,), np.float32)
        np.testing.assert_array_equal(seen, [*looks(patch), octaves])


@pytest.mark.parametrize("name", ["archive", "archive-fast"])
def test_at_a_finer_scale_it_expects_less_to_be_lost(name, sample_pixels):
    """Of the same pixels: their nuclei have more of them."""
    agent, profile = LadderAgent.of(weights_pinned(PROFILES[name].agent)), PROFILES[name]
    assert agent.is_told_scale
    patches = [sample_pixels[y : y + 512, x : x + 512] for y in (600, 1400, 2000) for x in (400, 1000, 1600)]

    def proposed(mpp):
        return [agent.search(patch, mpp, profile, 40_000).proposed for patch in patches]

    assert np.mean(proposed(0.25)) < np.mean(proposed(0.5)) - 1


def test_a_measurement_is_priced_by_the_scale():
    assert price_at(500, 0.5) == price_at(500, 1.0) == 500
    assert price_at(500, 0.25) == 125


def test_one_that_is_not_told_the_scale_says_the_same_at_each(sample_pixels):
    agent, profile = LadderAgent.of(weights_pinned("cda-ladder-2@fa1b76387cd5")), profile_named("archive@6")
    patch = sample_pixels[1000:1512, 800:1312]
    one, other = (agent.search(patch, mpp, profile, 40_000) for mpp in (0.25, 0.5))
    assert (one.proposed, one.p_compress) == (other.proposed, other.p_compress)


def test_it_knows_its_ladder_only(tmp_path):
    table = {"rungs": ["x4-q30", "fine-q40"]}
    weights = Weights("cda-ladder", "agent", tmp_path / "none.onnx", bytes(32), table)
    agent = LadderAgent.of(weights)
    with pytest.raises(ModelError, match="ladder of"):
        agent.search(np.zeros((8, 8, 3), np.uint8), 0.5, PROFILES["paper"], 1000)
    for wrong in ({}, {"rungs": []}, {"rungs": 3}):
        with pytest.raises(ModelError, match="no agent"):
            LadderAgent.of(replace(weights, table=wrong))
    with pytest.raises(ModelError, match="no agent"):
        LadderAgent.of(replace(weights, kind="restorer"))


def test_the_profile_says_what_a_measurement_must_promise(sample_pixels):
    agent = LadderAgent.of(weights_pinned(PROFILES["archive-fast"].agent))
    patch = sample_pixels[1000:1512, 800:1312]

    def measured(price):
        """Rungs that are measured until the search ends, where all but the five cheapest hold."""
        profile = replace(PROFILES["archive-fast"], measurement_price=price)
        search, found = agent.search(patch, 0.5, profile, 40_000), {}
        while (place := search.next(found)) is not None:
            held = place >= 5
            found[place] = tried(1000 + 300 * place, 0.9 if held else 0.8, held=held)
        return len(found)

    assert measured(1.0) > measured(1000.0) > measured(50_000.0) == 0
