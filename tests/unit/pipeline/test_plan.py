"""A plan travels between processes as bytes and comes back the same."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from adaslide import wiring
from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import InputError, MissingMpp, SlideCorrupt
from adaslide.domain.geometry import Region, Size
from adaslide.domain.pixels import Pixels
from adaslide.domain.profile import PROFILES
from adaslide.domain.slide import MppOrigin, SlideFacts, SourceLevel, TileLayout, patch_size
from adaslide.pipeline.plan import CompressionPlan, plan


class FakeReader:
    """Glass with one dark square, of any facts."""

    def __init__(self, **changed):
        size = changed.pop("size", Size(3000, 2000))
        base = {
            "size": size,
            "levels": (SourceLevel(size, 1.0),),
            "vendor": "test",
            "mpp": 0.25,
            "objective": 40.0,
            "icc": b"\x00profile\xff",
            "tiles": TileLayout(256, 12, 8, 12345),
            "source_bytes": 99,
            "source_sha256": "ab" * 32,
        }
        self.tissue = changed.pop("tissue", None)
        self.patches_read = 0
        self.facts = SlideFacts(**(base | changed))

    def thumbnail(self, max_side: int) -> Pixels:
        made = np.full((max_side * 2 // 3, max_side, 3), (243, 240, 244), np.uint8)
        made[: max_side // 6, : max_side // 6] = (150, 60, 140)
        return made

    def read(self, region: Region, level: int = 0) -> Pixels:
        self.patches_read += 1
        if self.tissue is None:
            raise SlideCorrupt("nothing can be read here")
        return self.tissue


def test_a_plan_comes_back_the_same():
    made = plan(FakeReader(), PROFILES["archive"].with_floors(dice=0.91))
    back = CompressionPlan.from_bytes(made.to_bytes())
    assert back.facts == made.facts
    assert back.profile == made.profile
    assert back.profile.floors.dice == 0.91
    assert back.profile.lambda_ == 0
    paper = plan(FakeReader(), PROFILES["paper"].with_lambda(0.3))
    assert CompressionPlan.from_bytes(paper.to_bytes()).profile.lambda_ == 0.3
    assert back.target_ratio is None
    aimed = plan(FakeReader(), PROFILES["archive"], target_ratio=5.5)
    assert CompressionPlan.from_bytes(aimed.to_bytes()).target_ratio == 5.5
    assert (back.mpp, back.mpp_origin, back.patch) == (0.25, MppOrigin.PROPERTIES, 512)
    assert back.glass == made.glass
    assert np.array_equal(back.tissue, made.tissue)
    assert np.array_equal(back.barred, made.barred)
    assert back.grid == made.grid


def test_the_plan_of_an_older_version_has_no_target_and_bars_nothing():
    older = json.loads(plan(FakeReader(), PROFILES["archive"]).to_bytes())
    del older["target_ratio"], older["barred"]
    back = CompressionPlan.from_bytes(json.dumps(older).encode())
    assert back.target_ratio is None
    assert back.barred.shape == back.tissue.shape
    assert not back.barred.any()


def test_a_ratio_is_of_the_tiles_or_of_the_file_where_none_are_known():
    made = plan(FakeReader(), PROFILES["archive"], target_ratio=5.5)
    tiled = replace(made.facts, tiles=TileLayout(256, 9, 9, 777))
    assert replace(made, facts=tiled).ratio_base == 777
    assert replace(made, facts=replace(tiled, tiles=None)).ratio_base == made.facts.source_bytes


def test_tissue_and_glass_are_found():
    made = plan(FakeReader(), PROFILES["archive"])
    assert made.tissue.shape == (4, 6)
    assert made.tissue[0, 0] > 0.9
    assert made.tissue[3, 5] == 0
    assert made.glass == (243, 240, 244)
    assert made.fill == 242


def test_the_callers_scale_wins_and_is_recorded():
    made = plan(FakeReader(), PROFILES["archive"], mpp=0.5)
    assert (made.mpp, made.mpp_origin) == (0.5, MppOrigin.CALLER)


def test_no_scale_at_all_is_an_error():
    with pytest.raises(MissingMpp):
        plan(FakeReader(mpp=None), PROFILES["archive"])


@pytest.mark.parametrize("mpp", [0.0, 11.0, float("nan"), float("inf")])
def test_an_impossible_scale_is_an_error(mpp):
    with pytest.raises(InputError):
        plan(FakeReader(), PROFILES["archive"], mpp=mpp)


def test_encoders_and_checkers_can_be_sent_to_worker_processes():
    made = plan(FakeReader(), PROFILES["archive"])
    encoder = pickle.loads(pickle.dumps(wiring.patch_encoder(made)))
    checker = pickle.loads(pickle.dumps(wiring.patch_checker(512, 0.25, 242)))
    assert encoder.profile == made.profile
    assert (checker.pixels(None) == 242).all()


@pytest.mark.parametrize(("tile", "patch"), [(240, 480), (256, 512), (512, 512), (1024, 1024), (500, 512)])
def test_patches_align_to_tiles_where_that_is_possible(tile, patch):
    assert patch_size(FakeReader(tiles=TileLayout(tile, 1, 1, 1)).facts) == patch


BROWN = np.random.default_rng(0).normal((120, 80, 40), 20, (512, 512, 3)).clip(0, 255).astype(np.uint8)
CORNER = "[[[600,600],[610,600],[610,610]]]"


@pytest.mark.parametrize(("tissue", "flag"), [(BROWN, PatchFlag.UNKNOWN_STAIN), (None, PatchFlag.NONE)])
def test_a_slide_whose_tissue_is_strange_is_barred_everywhere(tissue, flag):
    """A patch that cannot be read tells nothing of the stain."""
    reader = FakeReader(tissue=tissue)
    made = plan(reader, PROFILES["archive"])
    assert reader.patches_read > 0
    assert set(np.unique(made.barred & PatchFlag.UNKNOWN_STAIN)) == {flag}


def test_a_profile_without_a_policy_reads_no_patch():
    reader = FakeReader(tissue=BROWN)
    assert not plan(reader, PROFILES["exact"]).barred.any()
    assert reader.patches_read == 0


def test_regions_beside_the_slide_are_refused():
    """Of another slide, or in another unit: whoever protects nothing should know."""
    with pytest.raises(InputError, match="touch no patch"):
        plan(FakeReader(), PROFILES["archive"], protect="[[[90000,90000],[90010,90000],[90010,90010]]]")


def test_protected_regions_are_planned_whatever_the_profile():
    made = plan(FakeReader(), PROFILES["paper"], protect=CORNER)
    assert [tuple(map(int, at)) for at in np.argwhere(made.barred == PatchFlag.PROTECTED)] == [(1, 1)]
    assert np.array_equal(CompressionPlan.from_bytes(made.to_bytes()).barred, made.barred)
