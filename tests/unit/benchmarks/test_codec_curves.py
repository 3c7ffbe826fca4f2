"""What one encoder setting costs beside another, on curves whose answer is known."""

import numpy as np
import pytest

from codec_curves import LEVELS, PEER, RESAMPLES, Curve, Setting, at_dice, levels, lines, resamples, table

SLOW, NEVER = Setting(4, "stain"), Setting(9, "4:2:0")


def curve(size=(100, 400, 1600), dice=(0.6, 0.8, 1.0), seconds=(0.01, 0.04, 0.16), patches=4):
    """Patches that are all alike."""
    rows = [np.tile(np.array(values, float), (patches, 1)) for values in (size, seconds, dice)]
    return Curve(*rows, ssim=rows[2] / 2, delta_e=8 * (1 - rows[2]), second=rows[2], colour=1 - rows[2])


def test_a_quality_that_was_measured_is_told_as_it_was():
    point = at_dice(curve(), 0.8)
    assert (point.size, point.seconds) == pytest.approx((400, 0.04))
    assert (point.ssim, point.delta_e) == pytest.approx((0.4, 1.6))


def test_between_two_qualities_bytes_and_seconds_are_interpolated_in_their_logarithms():
    point = at_dice(curve(), 0.7)
    assert (point.size, point.seconds) == pytest.approx((200, 0.02))
    assert (point.ssim, point.delta_e) == pytest.approx((0.35, 2.4))


@pytest.mark.parametrize("dice", [0.5, 0.6, 1.01])
def test_nothing_is_told_beyond_the_curve(dice):
    assert at_dice(curve(), dice) is None


def test_where_dice_falls_again_the_first_crossing_counts():
    assert at_dice(curve(dice=(0.6, 0.8, 0.7)), 0.7).size == pytest.approx(200)


def test_bytes_are_means_and_seconds_medians_of_the_patches():
    of = curve(patches=3)
    of.size[:, 1] = 100, 200, 600
    of.seconds[:, 1] = 0.01, 0.02, 0.6
    point = at_dice(of, 0.8)
    assert (point.size, point.seconds) == pytest.approx((300, 0.02))


def test_images_are_drawn_whole():
    draws = resamples(["a", "b", "a", "c"])
    assert len(draws) == RESAMPLES
    assert all(np.sum(draw == 0) == np.sum(draw == 2) for draw in draws)
    assert len({len(draw) for draw in draws}) > 1


def test_of_one_image_patches_are_drawn():
    draws = resamples(["a"] * 5)
    assert {len(draw) for draw in draws} == {5}
    assert not all(np.array_equal(draw, draws[0]) for draw in draws)


def test_the_table_holds_ratios_to_the_peer():
    curves = {SLOW: curve(size=(50, 200, 800), seconds=(0.05, 0.2, 0.8)), PEER: curve()}
    slow, peer = table(curves, ["a", "a", "b", "b"])
    assert (slow["speed"], slow["planes"]) == (4, "stain")
    assert list(slow["at_dice"]) == ["0.85", "0.90"]
    for level in slow["at_dice"].values():
        assert (level["bytes_x"], level["bytes_x_90"], level["time_x"]) == (0.5, [0.5, 0.5], 5.0)
    assert slow["at_dice"]["0.90"]["bytes"] == 400
    assert slow["at_dice"]["0.90"]["ms"] == 400
    assert [level["bytes_x"] for level in peer["at_dice"].values()] == [1.0, 1.0]


def test_the_interval_holds_the_ratios_of_the_images():
    """One image needs half the bytes, the other all of them."""
    slow = curve()
    slow.size[:2] /= 2
    [row, _] = table({SLOW: slow, PEER: curve()}, ["a", "a", "b", "b"])
    assert row["at_dice"]["0.90"]["bytes_x"] == 0.75
    assert row["at_dice"]["0.90"]["bytes_x_90"] == [0.5, 1.0]


def test_settings_are_compared_where_every_curve_reaches():
    curves = {PEER: curve(), SLOW: curve(dice=(0.5, 0.7, 0.78))}
    assert levels(curves) == [0.70, 0.75]
    assert len(levels({PEER: curve()})) == LEVELS


def test_a_setting_that_reaches_nothing_leaves_its_row_empty():
    curves = {PEER: curve(), NEVER: curve(dice=(0.1, 0.2, 0.3))}
    rows = table(curves, list("abcd"))
    assert rows[1]["at_dice"] == {"0.85": None, "0.90": None}
    shown = list(lines(rows))
    assert shown[0] == [
        "6",
        "stain",
        "1.000",
        "-",
        "1.00",
        "56.6",
        "1.20",
        "1.000",
        "-",
        "1.00",
        "80.0",
        "0.80",
    ]
    assert shown[1] == ["9", "4:2:0", *["-"] * 10]
