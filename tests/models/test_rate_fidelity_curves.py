"""The arithmetic of the contest, on numbers that can be checked by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.fidelity import METRICS, Floors
from adaslide.domain.profile import profile_named
from adaslide.domain.rung import Rung
from adaslide_models.evaluate.rate_fidelity.contestants import STAINED
from adaslide_models.evaluate.rate_fidelity.curves import (
    bytes_at,
    cheapest_uniform,
    gap_with_margin,
    interval,
    mean,
    oracle,
    p5,
    paper_hybrid,
    picked,
)
from adaslide_models.evaluate.rate_fidelity.measured import Column, Table
from adaslide_models.evaluate.rate_fidelity.ours import Ours, Settings
from adaslide_models.evaluate.rate_fidelity.rows import chosen_rows

COLUMNS = (
    Column("AVIF", "q1"),
    Column("AVIF", "q2"),
    Column("JPEG", "q1"),
    Column(None, "x2-q20", Rung.X2),
    Column(None, "x2-q20", Rung.X2, by_net=True),
    Column(None, "fine-q40", Rung.FINE),
    Column(None, "paper-compress", Rung.PAPER_COMPRESS),
    Column(None, "paper-compress", Rung.PAPER_COMPRESS, by_net=True),
    Column(None, "paper-keep-q75", Rung.PAPER_KEEP),
    Column(None, "lossless", Rung.LOSSLESS),
)


def table(dice, sizes):
    """Every other metric is held by all."""
    fidelity = np.ones((*np.shape(dice), len(METRICS)))
    fidelity[:, :, METRICS.index("dice")] = dice
    return Table(COLUMNS, np.broadcast_to(np.array(sizes, float), np.shape(dice)), fidelity)


SIZES = (100, 400, 900, 50, 51, 200, 700, 701, 1000, 5000)
MEASURED = table(
    [
        [0.80, 0.90, 0.99, 0.80, 0.90, 0.95, 0.7, 0.88, 0.97, 1.0],  # the net is worth it
        [0.60, 0.80, 0.98, 0.91, 0.90, 0.95, 0.7, 0.60, 0.97, 1.0],  # it loses against bicubic
        [0.50, 0.70, 0.97, 0.40, 0.50, 0.60, 0.7, 0.50, 0.97, 1.0],  # nothing but lossless
    ],
    SIZES,
)


class TestBytesAt:
    def test_between_two_settings_the_logarithm_is_interpolated(self):
        assert bytes_at(np.array([100.0, 400.0]), np.array([0.8, 0.9]), 0.85) == pytest.approx(200)

    def test_a_codec_that_is_better_at_its_smallest_is_taken_there(self):
        assert bytes_at(np.array([400.0, 100.0]), np.array([0.9, 0.8]), 0.5) == 100

    def test_one_that_never_gets_there_costs_everything(self):
        assert bytes_at(np.array([100.0, 400.0]), np.array([0.8, 0.9]), 0.95) == np.inf

    @given(st.lists(st.floats(0.1, 0.99), min_size=2, max_size=8, unique=True), st.floats(0.1, 0.99))
    def test_it_lies_between_settings_that_enclose_the_score(self, scores, wanted):
        sizes = 100.0 * 2.0 ** np.arange(len(scores))
        found = bytes_at(sizes, np.array(scores), wanted)
        if max(scores) < wanted:
            assert found == np.inf
        else:
            first = next(i for i, score in enumerate(scores) if score >= wanted)
            assert sizes[max(first - 1, 0)] <= found <= sizes[first]


def test_our_own_coding_for_every_patch_is_none_of_the_codecs():
    """It is cheaper, and told apart: what it saves is not that something was chosen."""
    columns = (*COLUMNS, Column(STAINED, "q1"))
    sizes = np.hstack([MEASURED.bytes, np.full((3, 1), 10.0)])
    best = np.ones((3, 1, len(METRICS)))
    contest = Table(columns, sizes, np.hstack([MEASURED.fidelity, best]))
    every = np.arange(3)
    assert cheapest_uniform(contest, every, mean, 0.9) == cheapest_uniform(MEASURED, every, mean, 0.9)
    assert cheapest_uniform(contest, every, mean, 0.9, stained=True) == (10.0, STAINED)


def test_the_cheapest_codec_is_named():
    every = np.arange(3)
    size, name = cheapest_uniform(MEASURED, every, mean, 0.72)
    assert name == "AVIF"
    assert 100 < size < 400
    assert cheapest_uniform(MEASURED, every, p5, 0.96) == (900.0, "JPEG")


def test_the_oracle_takes_the_cheapest_that_holds_and_no_net_that_loses_nuclei():
    chosen = oracle(MEASURED, Floors(dice=0.85))
    assert [MEASURED.columns[i].name for i in chosen] == ["x2-q20 + net", "x2-q20", "lossless"]
    without = oracle(MEASURED, Floors(dice=0.85), nets=False)
    assert [MEASURED.columns[i].name for i in without] == ["fine-q40", "x2-q20", "lossless"]
    whole = oracle(MEASURED, Floors(dice=0.85), restored=False)
    assert [MEASURED.columns[i].name for i in whole] == ["fine-q40", "fine-q40", "lossless"]


def test_every_floor_counts_and_the_margin_where_asked():
    low_ssim = MEASURED.fidelity.copy()
    low_ssim[0, 4, METRICS.index("ssim")] = 0.4
    stricter = Table(COLUMNS, MEASURED.bytes, low_ssim)
    assert MEASURED.columns[oracle(stricter, Floors(dice=0.85, ssim=0.5))[0]].name == "fine-q40"
    assert MEASURED.columns[oracle(MEASURED, Floors(dice=0.90), margin=True)[0]].name == "fine-q40"


def test_the_gap_is_that_of_patches_which_no_policy_bars():
    sizes, nobody = np.array([102.0, 100.0, 9000.0]), np.zeros(3, bool)
    floors = Floors(dice=0.85, margin=0.0)
    assert gap_with_margin(MEASURED, floors, sizes, nobody) == pytest.approx(9202 / 5101)
    assert gap_with_margin(MEASURED, floors, sizes, np.array([0, 0, 1], bool)) == pytest.approx(202 / 101)
    assert np.isnan(gap_with_margin(MEASURED, floors, sizes, ~nobody))


def test_the_published_pair_is_compress_where_it_holds_and_else_keep():
    chosen = paper_hybrid(MEASURED, 0.85)
    assert picked(MEASURED.bytes, chosen).tolist() == [701, 1000, 1000]


def test_intervals_resample_images_and_not_patches():
    values = np.array([1.0, 1.0, 1.0, 5.0])
    one_image = interval(["a"] * 4, lambda chosen: float(values[chosen].mean()))
    assert one_image == [2.0, 2.0]
    low, high = interval(["a", "a", "a", "b"], lambda chosen: float(values[chosen].mean()))
    assert (low, high) == (1.0, 5.0)


def one_of_ours(floor, lambda_=0.0):
    profile = profile_named("archive").with_floors(dice=floor).with_lambda(lambda_)
    return Ours(profile, *[None] * 10)


def test_a_setting_is_compared_only_where_it_holds_the_floor():
    ours = Settings(
        profile_named("archive"), 0.5, [one_of_ours(f) for f in (0.8, 0.85, 0.9)], [one_of_ours(0.85, 0.1)]
    )

    def settings(floor):
        return [[one.setting for one in curve] for curve in ours.curves(floor)]

    dial = ["floor 0.85", "floor 0.85, lambda 0.1"]
    assert settings(0.8) == [["floor 0.8", "floor 0.85", "floor 0.9"], dial]
    assert settings(0.85) == [["floor 0.85", "floor 0.9"], dial]
    assert settings(0.9) == [["floor 0.9"]]


def test_rows_are_means_over_what_was_chosen():
    rows = {
        row["name"]: row
        for row in chosen_rows(MEASURED, replace(profile_named("paper"), floors=Floors(0.85)))
    }
    assert rows["oracle"]["bytes"] == round((51 + 50 + 5000) / 3)
    assert rows["oracle"]["dice_mean"] == round((0.90 + 0.91 + 1.0) / 3, 4)
    assert rows["oracle without enhancers"]["bytes"] == round((200 + 50 + 5000) / 3)
    assert rows["oracle without restoring"]["bytes"] == round((200 + 200 + 5000) / 3)
    assert rows["published pair"]["bytes"] == round((701 + 1000 + 1000) / 3)
