"""The numbers that users see, from maps whose answer is known."""

from dataclasses import replace
from math import nan

import numpy as np
import pytest

from adaslide.domain.decision import PatchFlag, PatchOutcome, Promise
from adaslide.domain.fidelity import IDENTICAL, Fidelity, Floors
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import Rung
from adaslide.package.records import PatchMaps
from adaslide.pipeline.totals import by_rung, restored_though_barred, summary, totals_of, violations

FLOORS = Floors(dice=0.85, dice_window_min=0.6, ssim=0.7)
PROMISE = Promise(FLOORS, replace(FLOORS, ssim=0.9))
UNKNOWN = Fidelity(*(nan,) * 6)


def outcome(row, col, rung, fidelity, size, flags=PatchFlag.NONE, measurements=0):
    return PatchOutcome(
        PatchIndex(row, col), rung, 40, nan, flags, fidelity, b"x" * size, 7, measurements, 1000
    )


@pytest.fixture
def maps():
    made = PatchMaps.empty(2, 3)
    fine = Fidelity(0.9, 0.8, 0.9, 33, 2, 40)
    for one in (
        outcome(0, 0, Rung.BACKGROUND, Fidelity(nan, nan, nan, 45, 0.4, 9), 0),
        outcome(0, 1, Rung.FINE, fine, 300, PatchFlag.DEMOTED, 4),
        outcome(0, 2, Rung.X4, Fidelity(0.86, 0.7, 0.71, 24, 5, 90), 100, PatchFlag.PROMOTED, 3),
        outcome(1, 0, Rung.EXACT, IDENTICAL, 740),
        outcome(1, 1, Rung.EXACT, UNKNOWN, 1000, PatchFlag.CORRUPT),
        outcome(1, 2, Rung.FINE, fine, 260, measurements=3),
    ):
        made.record(one.index.row, one.index.col, one)
    return made


def totals(maps, tiles=6000):
    return totals_of(
        maps,
        PROMISE,
        source_bytes=9000,
        source_tile_bytes=tiles,
        source_pixel_bytes=60_000,
        package_bytes=3000,
    )


def test_bytes_and_ratios_are_after_over_before(maps):
    found = totals(maps)
    assert found["payload_bytes"] == 2400
    assert found["ratio_source"] == pytest.approx(1 / 3, abs=1e-5)
    assert found["ratio_tiles"] == 0.5
    assert found["ratio_tissue"] == 0.6  # glass's 1000 source bytes are not the tissue's
    assert found["ratio_pixels"] == 0.05


def test_sources_without_tiles_have_no_ratio_to_them(maps):
    found = totals(maps, tiles=None)
    assert found["ratio_tiles"] is found["ratio_tissue"] is None


def test_patches_are_counted_once(maps):
    found = totals(maps)["patches"]
    assert found["by_rung"] == {"background": 1, "exact": 2, "fine": 2, "x4": 1}
    assert sum(found["by_rung"].values()) == found["total"] == 6
    assert (found["background"], found["corrupt"]) == (1, 1)
    assert by_rung(maps)["fine"] == {"patches": 2, "bytes": 560}


def test_fidelity_is_over_what_was_measured_glass_apart(maps):
    found = totals(maps)["fidelity"]["dice"]
    assert found["n"] == 4
    assert found["min"] == pytest.approx(0.86)
    assert found["mean"] == pytest.approx((0.9 + 0.86 + 1 + 0.9) / 4)


def test_shares_and_searches(maps):
    found = totals(maps)
    assert (found["demoted"], found["promoted"]) == (1, 1)
    assert found["measurements_per_patch"] == 2.0
    assert found["share_compressed"] == 0.2


def test_a_patch_below_a_floor_is_a_violation_and_only_a_lossy_one(maps):
    assert violations(maps, PROMISE) == []
    maps.quality["dice"][0, 1] = 0.8
    maps.quality["dice"][1, 0] = 0.1
    assert violations(maps, PROMISE) == [PatchIndex(0, 1)]


def test_a_barred_patch_has_higher_floors_and_is_never_restored(maps):
    place = next(PatchIndex(*map(int, at)) for at in np.argwhere(maps.decision["rung"] == Rung.FINE))
    at = place.row, place.col
    maps.quality["ssim"][at] = 0.89
    maps.decision["flags"][at] |= PatchFlag.UNKNOWN_STAIN
    assert violations(maps, PROMISE) == [place]
    assert totals(maps)["patches"]["not_restored"] == {"protected": 0, "unknown_stain": 1, "unknown_focus": 0}
    assert restored_though_barred(maps) == []
    maps.decision["rung"][at] = Rung.X2
    assert restored_though_barred(maps) == [place]


def test_nothing_measured_is_said_and_not_averaged():
    assert summary(np.array([nan, nan]))["mean"] is None
    assert summary(np.array([nan, 0.5]))["n"] == 1
