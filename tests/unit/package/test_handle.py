from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.registry import get_codec_class

import adaslide
from adaslide.domain.errors import ChecksumMismatch, Conflict, NotFound, PackageError
from adaslide.package.zarr_codec import PatchCodec

GOLDEN = Path(__file__).parents[2] / "golden" / "v1"


def test_zarr_finds_the_codec_by_its_entry_point():
    assert get_codec_class("adaslide.patch") is PatchCodec


def test_the_codec_is_its_name_alone():
    assert PatchCodec.from_dict({"name": "adaslide.patch"}).to_dict() == {"name": "adaslide.patch"}
    with pytest.raises(PackageError):
        PatchCodec.from_dict({"name": "adaslide.patch", "configuration": {"version": 9}})


def test_writing_through_zarr_is_refused():
    array = zarr.open_group(GOLDEN / "shards.zarr", mode="r+")["0"]
    with pytest.raises(Conflict):
        array[:, 0:4, 0:4] = 1


def test_pixels_and_maps_by_name():
    package = adaslide.open(GOLDEN / "rungs.zarr")
    assert len(package) == 2
    assert package.mpp == 0.499
    assert package[0].shape == (3, 650, 900)
    assert package[0][:, 0:7, 0:5].shape == (3, 7, 5)
    assert package[1].shape == (3, 41, 57)
    assert package.rung.tolist() == [[2, 4, 3, 6], [7, 8, 1, 0], [0, 0, 0, 0]]
    assert package.rung is package.decision["rung"]
    assert "dice" in package.quality
    assert set(package.quality) >= {"dice", "ssim"}
    assert np.isclose(package.quality["dice"][0, 0], 0.9)


@pytest.mark.parametrize("level", [-1, 2])
def test_levels_outside(level):
    with pytest.raises(IndexError):
        adaslide.open(GOLDEN / "rungs.zarr")[level]


def test_an_unknown_map():
    with pytest.raises(KeyError):
        adaslide.open(GOLDEN / "rungs.zarr").quality["beauty"]


def test_no_package(tmp_path):
    with pytest.raises(NotFound):
        adaslide.open(tmp_path)


def test_a_damaged_root(tmp_path):
    data = (GOLDEN / "rungs.zarr" / "zarr.json").read_bytes()
    (tmp_path / "zarr.json").write_bytes(data.replace(b"0.499", b"0.498"))
    with pytest.raises(ChecksumMismatch):
        adaslide.open(tmp_path)
