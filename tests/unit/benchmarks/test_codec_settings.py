"""How the settings of the encoder are measured."""

import numpy as np
import pytest
from PIL import Image

import bench_codec_settings as bench
from adaslide.domain.rung import Codec, Rung, RungSpec
from adaslide_models.data.sources import Source
from codec_curves import PEER, Curve, Setting, levels, table

SIDE = 512


class DarkIsNuclei:
    name = "dark"

    def masks(self, images, mpp):
        return [image[..., 0] < 100 for image in images]


@pytest.fixture
def sources(tmp_path):
    """Images of one, two and three patches with nuclei; and one without."""
    random = np.random.default_rng(0)
    for count in range(4):
        pixels = random.integers(150, 250, (SIDE, 3 * SIDE, 3), np.uint8)
        for x in range(count):
            pixels[100:200, x * SIDE + 50 : x * SIDE + 150] -= 120
        Image.fromarray(pixels).save(tmp_path / f"{count}.png")
    return [Source(tmp_path, f"{count}.png") for count in range(4)]


def test_patches_are_spread_over_images(sources):
    found = bench.subjects(sources, DarkIsNuclei(), 5, seed=0)
    assert sorted(subject.image for subject in found[:3]) == ["1.png", "2.png", "3.png"]
    assert sorted(subject.image for subject in found[3:]) == ["2.png", "3.png"]


def test_the_same_seed_finds_the_same_patches(sources):
    first, again = (bench.subjects(sources, DarkIsNuclei(), 3, seed=1) for _ in range(2))
    assert [subject.image for subject in first] == [subject.image for subject in again]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first, again, strict=True))


def test_a_patch_is_measured_by_setting_and_quality(sources, monkeypatch):
    settings = [PEER, Setting(9, "4:2:0")]
    monkeypatch.setattr(bench, "SETTINGS", settings)
    [subject] = bench.subjects(sources, DarkIsNuclei(), 1, seed=0)
    spec = RungSpec(Rung.X4, Codec.AVIF, 4)
    cells = np.array(list(bench.measured(subject, spec, (DarkIsNuclei(), DarkIsNuclei()), (20, 60))))
    assert cells.shape == (4, 7)
    sizes, seconds = cells[:, 0], cells[:, 1]
    assert sizes[0] < sizes[1]
    assert sizes[2] < sizes[3]
    assert (seconds >= 0).all()
    assert ((cells[:, 2] > 0) & (cells[:, 2] <= 1)).all()


def test_a_quick_run_shows_its_tables_and_writes_no_result(sources, monkeypatch, capsys, tmp_path):
    split = tmp_path / "split.txt"
    split.write_text("".join(f"{source.name}\n" for source in sources))
    monkeypatch.setattr(bench, "SETTINGS", [PEER, Setting(9, "4:2:0")])
    monkeypatch.setattr(bench, "QUALITIES", {Rung.FINE: (1, 2, 50), Rung.X2: (1, 2, 50)})
    monkeypatch.setattr(bench.wiring, "judge_named", lambda name, mpp: DarkIsNuclei())
    monkeypatch.setattr(bench.results_file, "write", lambda *_: pytest.fail("a result"))
    monkeypatch.setattr("sys.argv", ["bench", "--quick", "--data", str(tmp_path), "--split", str(split)])
    bench.main()
    shown = " ".join(capsys.readouterr().err.split())
    assert "fine, against speed 6 stain" in shown
    assert "x2, against speed 6 stain" in shown


def test_the_table_of_a_rung_has_a_column_for_every_cell():
    rows = np.tile(np.array([[100.0, 200.0, 400.0]]), (2, 1))
    of = {PEER: Curve(rows, rows, np.tile(np.array([[0.5, 0.8, 0.95]]), (2, 1)), rows, rows, rows, rows)}
    drawn = bench.shown(Rung.X4, of, table(of, ["a", "b"]))
    assert len(drawn.columns) == 2 + 5 * len(levels(of))
    assert drawn.row_count == 1
