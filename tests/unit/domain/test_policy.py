"""Profiles, floors, rungs and jobs: the rules that everything else leans on."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide import wiring
from adaslide.domain.errors import AdaSlideError, ProfileInvalid
from adaslide.domain.fidelity import IDENTICAL, Fidelity, Floors
from adaslide.domain.job import TRANSITIONS, JobState
from adaslide.domain.profile import LOSS_PRICE, OTSU, PROFILES, VERSIONS, profile_named
from adaslide.domain.rung import PROVENANCE, Codec, Rung

ARCHIVE = Floors(dice=0.85, dice_window_min=0.60, ssim=0.70)


def measured(dice=1.0, window=1.0, ssim=1.0):
    return Fidelity(dice, window, ssim, 30.0, 2.0, 40.0)


@pytest.mark.parametrize(
    ("fidelity", "violated"),
    [
        (measured(), ()),
        (measured(dice=0.8499), ("dice",)),
        (measured(dice=0.85, window=0.60, ssim=0.70), ()),
        (measured(window=0.5), ("dice_window_min",)),
        (measured(dice=0.1, ssim=0.1), ("dice", "ssim")),
    ],
)
def test_floors_name_what_is_violated(fidelity, violated):
    assert ARCHIVE.violated_by(fidelity) == violated
    assert ARCHIVE.held_by(fidelity) is (not violated)


def test_the_margin_counts_while_searching_alone():
    assert ARCHIVE.held_by(measured(dice=0.852))
    assert not ARCHIVE.held_by(measured(dice=0.852), margin=True)
    assert ARCHIVE.held_by(measured(dice=0.8551), margin=True)


def test_identical_pixels_hold_any_floor_with_its_margin():
    assert Floors(dice=0.999, dice_window_min=0.999, ssim=0.999).held_by(IDENTICAL, margin=True)


@given(st.floats(0, 1), st.floats(0, 1))
def test_what_holds_with_the_margin_holds_without(dice, floor):
    floors = Floors(dice=floor)
    if floors.held_by(measured(dice=dice), margin=True):
        assert floors.held_by(measured(dice=dice))


def test_profiles_are_found_by_name_and_by_version():
    assert profile_named("archive") is profile_named("archive@8") is PROFILES["archive"]
    assert profile_named("archive@1").judge == OTSU
    assert PROFILES["archive"].judge != OTSU


@pytest.mark.parametrize("name", ["", "archive@99", "Archive", "archive@", "../archive"])
def test_other_names_are_refused(name):
    with pytest.raises(ProfileInvalid):
        profile_named(name)


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan")])
def test_a_floor_outside_its_range_is_refused(value):
    with pytest.raises(ProfileInvalid):
        PROFILES["archive"].with_floors(dice=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_lambda_outside_its_range_is_refused(value):
    with pytest.raises(ProfileInvalid):
        PROFILES["paper"].with_lambda(value)


def test_a_lambda_that_would_turn_nothing_is_refused():
    for name in ("exact", "archive@1", "archive@2"):
        with pytest.raises(ProfileInvalid, match="knows no lambda"):
            profile_named(name).with_lambda(0.3)
    assert PROFILES["paper"].with_lambda(0.3).lambda_ == 0.3
    assert {profile.id: profile.lambda_ for profile in VERSIONS if profile.lambda_ is not None} == {
        "archive@3": 0.0,
        "archive@4": 0.0,
        "archive@5": 0.0,
        "archive@6": 0.0,
        "archive@7": 0.0,
        "archive@8": 0.0,
        "archive-fast@1": 0.0,
        "archive-fast@2": 0.0,
        "archive-fast@3": 0.0,
        "archive-fast@4": 0.0,
        "archive-fast@5": 0.0,
        "archive-fast@6": 0.0,
        "archive-fast@7": 0.0,
        "paper@1": 0.5,
        "paper@2": 0.5,
    }


def test_lambda_is_a_dial_of_archive():
    assert PROFILES["archive"].loss_price == 0
    assert PROFILES["archive"].with_lambda(0.25).loss_price == 0.25 * LOSS_PRICE
    assert PROFILES["paper"].loss_price == 0


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan"), float("inf")])
def test_a_target_ratio_is_a_number_above_0(ratio):
    with pytest.raises(ProfileInvalid, match="above 0"):
        PROFILES["archive"].check_target(ratio, None)


def test_a_target_ratio_needs_a_dial_and_no_lambda_beside_it():
    PROFILES["archive"].check_target(5.0, None)
    PROFILES["paper"].check_target(None, 0.5)
    for name in ("exact", "paper", "archive@2"):
        with pytest.raises(ProfileInvalid, match="no dial"):
            profile_named(name).check_target(5.0, None)
    with pytest.raises(ProfileInvalid, match="one of them"):
        PROFILES["archive"].check_target(5.0, 0.0)


def test_archive_ladder_is_as_the_format_promises():
    ladder = PROFILES["archive"].ladder
    assert {spec.rung for spec in ladder} == {Rung.X4, Rung.X2, Rung.X4_3, Rung.FINE}
    assert max(spec.quality for spec in ladder if spec.rung is Rung.FINE) <= 75
    assert {spec.codec for spec in ladder} == {Codec.STAIN_AVIF}


@pytest.mark.parametrize("profile", [one for one in VERSIONS if one.policy], ids=lambda one: one.id)
def test_what_nothing_may_restore_is_kept_in_colours_that_take_no_stain_for_granted(profile):
    ladder = profile.cautious().ladder
    fine = [spec for spec in profile.ladder if spec.rung is Rung.FINE]
    assert [spec.quality for spec in ladder] == [spec.quality for spec in fine]
    assert [spec.name for spec in ladder] == [spec.name for spec in fine]
    assert {spec.codec for spec in ladder} == {Codec.AVIF}


@pytest.mark.parametrize("profile", [one for one in VERSIONS if one.is_dial])
def test_every_ladder_is_known_to_the_agent_that_it_pins(profile):
    agent = wiring.agent_named(profile.agent)
    agent.check(profile)
    agent.check(profile.cautious())


def test_rung_ids_are_what_packages_hold():
    assert [int(rung) for rung in Rung] == list(range(10))
    assert {rung.label for rung in Rung} >= {"background", "exact", "fine", "x4", "paper-keep"}
    assert set(PROVENANCE) == set(Rung)


def test_every_job_can_reach_an_end_and_no_end_can_be_left():
    for state in JobState:
        reached, frontier = {state}, [state]
        while frontier:
            for following in TRANSITIONS[frontier.pop()] - reached:
                reached.add(following)
                frontier.append(following)
        assert any(found.terminal for found in reached), state
    assert {state for state in JobState if state.terminal} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    }


def test_error_codes_are_unique_and_public():
    def tree(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    codes = [kind.code for kind in tree(AdaSlideError)]
    assert len(codes) == len(set(codes))
    assert all(code == code.lower() and " " not in code for code in codes)


def test_the_present_profiles_hold_colour_and_older_ones_go_on_without():
    shifted = replace(IDENTICAL, colour_min=0.90)
    for name in ("archive", "archive-fast"):
        assert PROFILES[name].promise.floors.violated_by(shifted) == ("colour_min",)
        assert PROFILES[name].promise.barred.violated_by(shifted) == ("colour_min",)
    assert profile_named("archive@7").floors.held_by(shifted)
    assert profile_named("archive@7").floors.held_by(replace(IDENTICAL, colour_min=float("nan")))
    assert not PROFILES["archive"].floors.held_by(replace(IDENTICAL, colour_min=float("nan")))
