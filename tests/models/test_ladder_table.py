"""The tables that the sequential agent learns from: what they say of a patch is what was measured."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from adaslide.adapters.agents.ladder import LOOKS, looks_at
from adaslide.domain.fidelity import METRICS
from adaslide.domain.profile import profile_named
from adaslide_models.data.ladder_table import Counts, LadderTable, load_table, make_table
from adaslide_models.data.mixture import OWN
from adaslide_models.data.patches import NONE
from adaslide_models.data.sources import Source
from adaslide_models.evaluate.rate_fidelity.measured import CellMeter

ARCHIVE = profile_named("archive-fast")
SHORT = replace(ARCHIVE, ladder=ARCHIVE.ladder[:1])


@pytest.fixture(scope="module")
def sources(tmp_path_factory, sample_pixels):
    """An image of a 20x data set, and one of another scale."""
    data = tmp_path_factory.mktemp("data")
    found = []
    for name in ("nuclei/brca_m2c/a.png", "sr/osteosarcoma/b.png"):
        (data / name).parent.mkdir(parents=True)
        Image.fromarray(sample_pixels[1000:1512, 800:1312]).save(data / name)
        found.append(Source(data, name))
    return found


@pytest.fixture(scope="module")
def table(sources):
    return make_table(sources, SHORT, Counts(alike=2, own=1), NONE, seed=0)


def test_patches_at_a_scale_of_their_own_are_told_and_measured_at_it(sources, table, sample_pixels):
    one_scale, other = (source.name for source in sources)
    assert table.images.tolist() == [one_scale, one_scale, other, other]
    assert table.is_own.tolist() == [False, False, False, True]
    assert table.looks.shape == (4, LOOKS + 1)
    patch, mpp = sample_pixels[1000:1512, 800:1312], OWN["osteosarcoma"].mpp
    np.testing.assert_allclose(table.looks[3], looks_at(patch, mpp), rtol=1e-6)
    for row, scale in ((0, 0.5), (3, mpp)):
        (_, size, fidelity), *_ = CellMeter(SHORT, scale, codecs=())(patch)
        assert table.bytes[row] == [size]
        np.testing.assert_allclose(table.fidelity[row, 0], [getattr(fidelity, m) for m in METRICS])
    # The judge looks at another number of pixels.
    assert table.metric("dice")[0] != table.metric("dice")[3]


def test_a_part_of_a_table_is_one(table, tmp_path):
    part = table.only(table.is_own)
    assert (len(part), part.images.tolist()) == (1, ["sr/osteosarcoma/b.png"])
    part.save(tmp_path / "own.npz")
    again = load_table(tmp_path / "own.npz")
    assert isinstance(again, LadderTable)
    assert again.is_own.all()
    assert again.profile == ARCHIVE.id
    np.testing.assert_array_equal(again.fidelity, part.fidelity)


def test_without_patches_at_their_own_scales_no_such_image_is_asked_for(sources):
    table = make_table(sources[:1], SHORT, Counts(alike=1, own=0), NONE, seed=0)
    assert table.is_own.tolist() == [False]
