"""Maps as pictures."""

import numpy as np
import pytest

from adaslide.domain.errors import InputError, UnsupportedVersion
from adaslide.domain.fidelity import METRICS
from adaslide.domain.rung import Rung
from adaslide.package.records import PatchMaps
from adaslide.pipeline.maps import LAYERS, RUNG_COLOURS, legend, render_map


@pytest.fixture
def maps():
    made = PatchMaps.empty(2, 3)
    made.decision["rung"][:] = [[0, 1, 2], [4, 7, 8]]
    made.decision["p_compress"][:] = np.nan
    made.quality["dice"][:] = [[1.0, 0.9, 0.8], [0.7, 0.6, np.nan]]
    made.quality["delta_e"][:] = [[0.0, 1.0, 2.0], [3.0, 50.0, np.nan]]
    return made


def test_every_rung_and_metric_can_be_drawn(maps):
    assert set(RUNG_COLOURS) == set(Rung)
    assert set(LAYERS) == {"rung", "p_compress", *METRICS}
    for layer in LAYERS:
        assert render_map(maps, layer).shape == (2, 3, 4)


def test_rung_map_shows_the_legends_colours(maps):
    colours = dict(legend("rung"))
    image = render_map(maps, "rung", scale=4)
    assert image.shape == (8, 12, 4)
    assert image.dtype == np.uint8
    for (row, col), value in np.ndenumerate(maps.decision["rung"]):
        block = image[row * 4 : row * 4 + 4, col * 4 : col * 4 + 4].reshape(-1, 4)
        expected = (*bytes.fromhex(colours[Rung(value).label][1:]), 255)
        assert (block == expected).all()


def test_colours_of_rungs_are_all_different():
    assert len(set(RUNG_COLOURS.values())) == len(Rung)


def test_unmeasured_patches_are_transparent(maps):
    image = render_map(maps, "dice")
    assert image[1, 2].tolist() == [0, 0, 0, 0]
    assert (image.reshape(-1, 4)[:5, 3] == 255).all()
    assert not render_map(maps, "p_compress").any()


def test_better_is_lighter_also_where_less_is_better(maps):
    for layer in ("dice", "delta_e"):
        luma = render_map(maps, layer)[..., :3] @ np.array([0.2126, 0.7152, 0.0722])
        assert (np.diff(luma.reshape(-1)[:5]) < 0).all()


def test_values_beyond_the_scale_take_its_end(maps):
    worst = bytes.fromhex(legend("delta_e")[0][1][1:])
    assert bytes(render_map(maps, "delta_e")[1, 1, :3]) == worst


def test_legend_of_a_metric_runs_from_worst_to_best():
    assert [label for label, _ in legend("dice")] == ["0.60", "0.70", "0.80", "0.90", "1.00"]
    assert [label for label, _ in legend("delta_e")] == ["10.0", "7.5", "5.0", "2.5", "0.0"]
    assert legend("dice")[0][1] == "#440154"


@pytest.mark.parametrize("layer", ["bytes", "", "RUNG"])
def test_an_unknown_layer_is_an_input_error(maps, layer):
    with pytest.raises(InputError, match="no layer"):
        render_map(maps, layer)
    with pytest.raises(InputError, match="no layer"):
        legend(layer)


def test_a_scale_below_one_is_an_input_error(maps):
    with pytest.raises(InputError, match="at least 1"):
        render_map(maps, "rung", scale=0)


def test_a_rung_of_the_future_is_not_painted_over(maps):
    maps.decision["rung"][0, 0] = 77
    with pytest.raises(UnsupportedVersion):
        render_map(maps, "rung")
