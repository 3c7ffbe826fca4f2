"""Whole packages under the clinical policy: what is protected or strange is not restored, and it is said."""

import json
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from typer.testing import CliRunner

from adaslide import library
from adaslide.cli import app
from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import InputError
from adaslide.domain.rung import RESTORED_RUNGS, Rung
from jpeg_slide import write_jpeg_slide

SQUARE = [[600, 1100], [1000, 1100], [1000, 1500], [600, 1500], [600, 1100]]


def written(path, pixels):
    write_jpeg_slide(path, pixels, level=90, resolution=(1e4 / 0.5, 1e4 / 0.5), resolutionunit="CENTIMETER")


@pytest.fixture(scope="module")
def immunostain(tmp_path_factory):
    """A slide of four patches, all of one real immunostain."""
    picture = Image.open(Path(skimage.__file__).parent / "data" / "ihc.png").convert("RGB")
    folder = tmp_path_factory.mktemp("ihc")
    written(folder / "slide.tif", np.tile(np.asarray(picture), (2, 2, 1)))
    totals = library.compress(folder / "slide.tif", folder / "slide.zarr", mpp=0.5, workers=1)
    return folder, totals


def test_another_stain_is_kept_fine_or_whole_and_said(immunostain):
    folder, totals = immunostain
    assert totals["patches"]["not_restored"]["unknown_stain"] == totals["patches"]["total"] == 4
    assert totals["share_compressed"] == 0
    assert totals["fidelity"]["ssim"]["min"] >= 0.9
    assert library.verify_package(folder / "slide.zarr", folder / "slide.tif", workers=1).ok
    shown = CliRunner().invoke(app, ["inspect", str(folder / "slide.zarr")])
    assert "4 unknown stain" in shown.stdout


@pytest.fixture(scope="module")
def protected(sample_slide, tmp_path_factory):
    """(package, totals as JSON) of the sample with one protected region."""
    folder = tmp_path_factory.mktemp("protected")
    region = {"type": "Feature", "properties": {"name": "DOE^JOHN"}, "geometry": None}
    region["geometry"] = {"type": "Polygon", "coordinates": [SQUARE]}
    (folder / "regions.geojson").write_text(json.dumps(region))
    given = ["--protect", str(folder / "regions.geojson"), "--out", str(folder / "one.zarr"), "--json"]
    done = CliRunner().invoke(app, ["compress", str(sample_slide), *given])
    assert done.exit_code == 0, done.output
    return folder / "one.zarr", json.loads(done.stdout)


def test_a_protected_region_is_not_restored(protected, sample_slide):
    path, totals = protected
    package = library.open_package(path)
    inside = (package.maps.decision["flags"] & PatchFlag.PROTECTED) != 0
    rungs = package.maps.decision["rung"]
    touched = {(row, col) for row in range(1500 // package.info.patch + 1) for col in range(5)} & {
        (y // package.info.patch, x // package.info.patch) for x, y in SQUARE
    }
    assert touched <= {tuple(map(int, at)) for at in np.argwhere(inside)}
    assert totals["patches"]["not_restored"]["protected"] == np.count_nonzero(inside) < 16
    assert not np.isin(rungs[inside], list(RESTORED_RUNGS)).any()
    assert np.isin(rungs[~inside], list(RESTORED_RUNGS)).any()
    kept = inside & (rungs != Rung.BACKGROUND)
    assert package.maps.quality["ssim"][kept].min() >= 0.9
    assert library.verify_package(path, sample_slide).ok


def test_nothing_that_names_a_patient_is_kept(protected):
    assert not [file for file in protected[0].rglob("*") if file.is_file() and b"DOE" in file.read_bytes()]


@pytest.mark.parametrize("text", ["", "{", '{"type": "Point", "coordinates": [1, 2]}', "\x00\xff"])
def test_bad_regions_are_refused_and_nothing_is_written(sample_slide, tmp_path, text):
    (tmp_path / "regions.geojson").write_bytes(text.encode("latin-1"))
    given = ["--protect", str(tmp_path / "regions.geojson"), "--out", str(tmp_path / "one.zarr")]
    done = CliRunner().invoke(app, ["compress", str(sample_slide), *given])
    assert isinstance(done.exception, InputError)
    assert [file.name for file in tmp_path.iterdir()] == ["regions.geojson"]
