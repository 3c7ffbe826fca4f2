import pickle

import numpy as np
import pytest

from adaslide.adapters.slides.openslide import ChildSlideReader
from adaslide.adapters.slides.synthetic import SyntheticSlide
from adaslide.domain.geometry import Region, Size
from adaslide.domain.slide import patch_size
from adaslide.pipeline.tissue import Thumbnail, tissue_mask


def test_a_region_looks_the_same_whatever_is_asked(synthetic):
    large = synthetic.read(Region(300, 200, 1500, 1300))
    assert np.array_equal(synthetic.read(Region(900, 700, 33, 77)), large[500:577, 600:633])
    lower = synthetic.read(Region(0, 0, 600, 500), level=1)
    assert np.array_equal(synthetic.read(Region(120, 60, 90, 80), level=1), lower[60:140, 120:210])


def test_seed_decides(texture, synthetic):
    again = SyntheticSlide(Size(3000, 2500), 5, texture)
    other = SyntheticSlide(Size(3000, 2500), 6, texture)
    region = Region(0, 0, 1200, 1200)
    assert np.array_equal(again.read(region), synthetic.read(region))
    assert not np.array_equal(other.read(region), synthetic.read(region))
    assert again.facts == synthetic.facts
    assert other.facts.source_sha256 != synthetic.facts.source_sha256


def test_travels_as_its_recipe(synthetic, texture):
    data = pickle.dumps(synthetic)
    assert len(data) < texture.nbytes + 2000
    region = Region(1000, 1000, 300, 300)
    assert np.array_equal(pickle.loads(data).read(region), synthetic.read(region))


def test_levels_show_the_same_slide(synthetic):
    whole = synthetic.read(Region(0, 0, 3000, 2500)).astype(float)
    quarter = synthetic.read(Region(0, 0, 750, 625), level=1).astype(float)
    means = whole.reshape(625, 4, 750, 4, 3).mean(axis=(1, 3))
    assert np.abs(means - quarter).mean() < 1.5


def test_has_tissue_glass_faint_tissue_and_ink(texture):
    slide = SyntheticSlide(Size(12000, 12000), 7, texture)
    small = slide.thumbnail(1000)
    share = tissue_mask(Thumbnail.of(small)).mean()
    assert 0.25 < share < 0.6
    chroma = np.ptp(small, axis=2)
    pale = (small.min(axis=2) > 200) & (small.min(axis=2) < 234) & (chroma < 30)
    assert pale.mean() > 0.02
    blue_ink = (small[..., 2] > small[..., 0].astype(int) + 60) & (small[..., 0] < 70)
    assert blue_ink.any()


def test_a_huge_slide_costs_only_what_is_asked(texture):
    slide = SyntheticSlide(Size(200_000, 150_000), 1, texture)
    assert slide.read(Region(199_900, 149_900, 100, 100)).shape == (100, 100, 3)


@pytest.mark.parametrize("tile", [256, 512])
def test_writes_itself_as_a_slide(synthetic, tmp_path, tile):
    path = tmp_path / "synthetic.tif"
    synthetic.write_tiff(path, tile=tile)
    region = Region(400, 300, 1000, 900)
    with ChildSlideReader(path) as reader:
        facts = reader.facts
        assert facts.size == synthetic.facts.size
        assert [level.size for level in facts.levels] == [one.size for one in synthetic.facts.levels]
        assert facts.mpp == pytest.approx(0.5, abs=1e-3)
        assert facts.tiles is not None
        assert (facts.tiles.tile, facts.tiles.cols, facts.tiles.rows) == (
            tile,
            -(-3000 // tile),
            -(-2500 // tile),
        )
        assert patch_size(facts) == 512
        difference = np.abs(reader.read(region).astype(int) - synthetic.read(region))
        assert difference.mean() < 6
        assert (
            sum(
                len(reader.tile(row, col).data)
                for row in range(facts.tiles.rows)
                for col in range(facts.tiles.cols)
            )
            == facts.tiles.total_bytes
        )
