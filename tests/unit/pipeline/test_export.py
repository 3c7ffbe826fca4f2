from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from adaslide import codec_runtime
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.pyramid.tiff import TiffPyramidWriter
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.domain.errors import ChecksumMismatch, Conflict, InputError, RegionOutOfRange, StoreUnavailable
from adaslide.domain.geometry import Region
from adaslide.package.reader import PackageReader
from adaslide.pipeline import export as export_module
from adaslide.pipeline.export import Exporter
from adaslide.pipeline.restore import Restoration

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "v1"
SAMPLE = ROOT / "samples" / "CMU-1-Small-Region.svs"


def exporter(name: str) -> Exporter:
    reader = PackageReader(FilesystemStore(GOLDEN / f"{name}.zarr"))
    return Exporter(reader, Restoration(reader, codec_runtime), ExactRung(), TiffPyramidWriter())


def restored(name: str, region: Region, downsample: int = 1) -> np.ndarray:
    return exporter(name).restoration.read(region, downsample).pixels


def tiles_of(path: Path, numbers: list[int]) -> list[bytes]:
    with tifffile.TiffFile(path) as tiff:
        page, found = tiff.pages[0], []
        for number in numbers:
            tiff.filehandle.seek(page.dataoffsets[number])
            found.append(tiff.filehandle.read(page.databytecounts[number]))
        return found


@pytest.mark.parametrize("downsample", [1, 4])
def test_png_and_npy_hold_the_restored_pixels(tmp_path, downsample):
    region = Region(10, 5, 150, 140)
    expected = restored("rungs", region, downsample)
    made = exporter("rungs").export(tmp_path / "a.png", region=region, downsample=downsample)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image), expected)
        assert image.info["icc_profile"] == bytes(range(256)) * 2
        assert image.info["dpi"][0] == pytest.approx(25_400 / (0.499 * downsample), rel=1e-4)
    assert made["bytes"] == (tmp_path / "a.png").stat().st_size
    assert (made["format"], made["width"], made["height"], made["reencoded"]) == ("png", 150, 140, None)
    exporter("rungs").export(tmp_path / "a.npy", region=region, downsample=downsample)
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)


@pytest.mark.parametrize(("name", "original"), [("exact", True), ("exact", False)])
def test_exact_tiles_are_passed_through(tmp_path, name, original):
    out = tmp_path / "a.tif"
    made = exporter(name).export(out, original=original)
    assert made["passed_through_tiles"] == 9
    assert made["reencoded"] is None
    assert made["format"] == ("original" if original else "tiff")
    # The golden package holds the sample's tiles from row 6 and column 2 on, ten to a row.
    assert tiles_of(out, list(range(9))) == tiles_of(
        SAMPLE, [(6 + r) * 10 + 2 + c for r in range(3) for c in range(3)]
    )
    with openslide.OpenSlide(out) as slide:
        assert slide.level_dimensions == ((700, 500), (175, 125))
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    assert np.array_equal(read, restored(name, Region(0, 0, 700, 500)))


def test_a_reencoded_tiff_says_what_it_costs(tmp_path):
    out = tmp_path / "a.tif"
    made = exporter("rungs").export(out)
    expected = restored("rungs", Region(0, 0, 900, 650)).astype(int)
    with openslide.OpenSlide(out) as slide:
        assert slide.level_dimensions[:2] == ((900, 650), (450, 325))
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499, rel=1e-4)
        read = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    assert made["passed_through_tiles"] == 0
    assert made["reencoded"]["n"] == 12
    assert made["reencoded"]["max_error"] == np.abs(read - expected).max()
    assert 30 < made["reencoded"]["psnr_min"] < made["reencoded"]["psnr_mean"] <= 99


def test_a_tiff_of_a_region_is_that_region(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "BAND_PIXELS", 1)  # one patch at a time
    region = Region(50, 30, 333, 222)
    made = exporter("exact").export(tmp_path / "a.tif", region=region)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        read = tiff.asarray(key=0)
    error = np.abs(read.astype(int) - restored("exact", region))
    assert error.max() == made["reencoded"]["max_error"] < 40
    assert made["passed_through_tiles"] == 0


def test_the_measure_takes_a_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "MEASURED_PATCHES", 5)
    assert exporter("rungs").export(tmp_path / "a.tif")["reencoded"]["n"] == 4


@pytest.mark.parametrize(("name", "message"), [("rungs", "91.7% of the patches"), ("shards", "had no tiles")])
def test_original_is_refused_where_it_is_not_all_there(tmp_path, name, message):
    with pytest.raises(Conflict, match=message):
        exporter(name).export(tmp_path / "a.tif", original=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("a.jpeg", {}, InputError),
        ("a", {}, InputError),
        ("a.png", {"original": True}, InputError),
        ("a.tif", {"original": True, "downsample": 2}, InputError),
        ("a.png", {"region": Region(890, 0, 20, 20)}, RegionOutOfRange),
        ("a.tif", {"region": Region(890, 0, 20, 20)}, RegionOutOfRange),
        ("a.tif", {"downsample": 3}, RegionOutOfRange),
        ("missing/a.npy", {}, StoreUnavailable),
        ("missing/a.tif", {}, StoreUnavailable),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path, name, options, error):
    with pytest.raises(error):
        exporter("rungs").export(tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_package_leaves_nothing_and_says_why(tmp_path, monkeypatch):
    def damaged(*_):
        raise ChecksumMismatch("patch 0, 0")

    broken = exporter("rungs")
    monkeypatch.setattr(broken.reader, "payloads", damaged)
    with pytest.raises(ChecksumMismatch):
        broken.export(tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "options"), [("exact", {}), ("rungs", {}), ("rungs", {"downsample": 2})])
def test_progress_is_told_to_its_end(tmp_path, name, options):
    told = []
    source = exporter(name)
    source.export(tmp_path / "a.tif", progress=lambda done, total: told.append((done, total)), **options)
    total = len(source.reader.grid)
    assert {of for _, of in told} == {total}
    assert told[-1] == (total, total)
    assert (0, total) in told


def test_progress_of_a_region_counts_the_patches_under_it(tmp_path):
    told = []
    region = Region(10, 5, 150, 140)
    exporter("rungs").export(tmp_path / "a.tif", region=region, progress=lambda *so_far: told.append(so_far))
    assert told[-1][0] == told[-1][1]
