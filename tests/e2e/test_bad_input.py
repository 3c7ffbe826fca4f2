"""Bad input gets a typed error and exit code 3, or its patches are marked and kept as they stand.

Of the library, with no service in between: the same in every mode.
"""

import struct

import numpy as np
import openslide
import pytest
import tifffile

from adaslide import library
from adaslide.adapters.rungs.exact import ExactRung
from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import (
    InputError,
    MissingMpp,
    NotFound,
    SlideCorrupt,
    SlideTooLarge,
    SlideUnsupported,
)
from adaslide.domain.geometry import PatchIndex
from adaslide.domain.rung import Rung
from adaslide.library import compress


def tiled(path, pixels, **options):
    """A tiled JPEG TIFF of ``pixels``."""
    tifffile.imwrite(path, pixels, tile=(256, 256), compression="jpeg", photometric="rgb", **options)
    return path


def bomb(path, claimed=65_500):
    """A small TIFF whose one JPEG tile claims to be ``claimed`` px square."""
    tiled(path, np.full((256, 256, 3), 200, np.uint8), metadata=None)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", claimed, claimed)
    path.write_bytes(data)


CASES = {
    "truncated": lambda path, sample: path.write_bytes(sample.read_bytes()[:1_000_000]),
    "text": lambda path, _: path.write_text("this is no slide\n" * 100),
    "empty": lambda path, _: path.write_bytes(b""),
    "one pixel": lambda path, _: tifffile.imwrite(path, np.zeros((1, 1, 3), np.uint8), tile=(16, 16)),
    "noise": lambda path, _: path.write_bytes(np.random.default_rng(0).bytes(100_000)),
    "jpeg bomb": lambda path, _: bomb(path),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_compressed_is_a_typed_error_and_leaves_nothing(case, sample_slide, tmp_path):
    slide = tmp_path / "patient-name-4711.svs"
    CASES[case](slide, sample_slide)
    before = slide.read_bytes()
    with pytest.raises(InputError) as caught:
        compress(slide, tmp_path / "out.zarr", mpp=0.5)
    assert isinstance(caught.value, SlideUnsupported | SlideCorrupt | SlideTooLarge)
    assert "4711" not in str(caught.value)
    assert slide.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [slide.name]


def test_a_slide_without_scale_asks_for_one(tmp_path, sample_pixels):
    slide = tiled(tmp_path / "plain.tif", np.ascontiguousarray(sample_pixels[1000:1600, 800:1400]))
    with pytest.raises(MissingMpp):
        compress(slide, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()
    totals = compress(slide, tmp_path / "out.zarr", profile="paper", mpp=0.5)
    assert library.open_package(tmp_path / "out.zarr").info.attributes["mpp_origin"] == "caller"
    assert totals["violations"] == 0


@pytest.mark.parametrize("mpp", [0.0, -1.0, 50.0, float("nan")])
def test_a_scale_that_cannot_be_is_refused(sample_slide, tmp_path, mpp):
    with pytest.raises(InputError):
        compress(sample_slide, tmp_path / "out.zarr", mpp=mpp)


@pytest.fixture(scope="module")
def flipped(sample_slide, tmp_path_factory):
    """(path, places of the damaged tiles): the sample with bits flipped inside six of its tiles."""
    path = tmp_path_factory.mktemp("flipped") / "flipped.svs"
    data = bytearray(sample_slide.read_bytes())
    places = [(0, 0), (2, 5), (4, 4), (6, 2), (9, 6), (12, 9)]
    random = np.random.default_rng(7)
    with tifffile.TiffFile(sample_slide) as tiff:
        page = tiff.pages[0]
        for row, col in places:
            offset, count = page.dataoffsets[row * 10 + col], page.databytecounts[row * 10 + col]
            for at in random.integers(offset + count // 4, offset + count - 2, 24):
                data[at] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    return path, places


def test_flipped_bits_are_marked_and_kept_as_they_stand(flipped, tmp_path):
    slide, places = flipped
    totals = compress(slide, tmp_path / "out.zarr", profile="paper")
    package = library.open_package(tmp_path / "out.zarr")
    corrupt = np.argwhere(package.maps.decision["flags"] & PatchFlag.CORRUPT)
    marked = {(int(row), int(col)) for row, col in corrupt}
    assert marked == {(row // 2, col // 2) for row, col in places}
    assert totals["patches"]["corrupt"] == len(marked)
    assert totals["violations"] == 0
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        for row, col in places:
            index = PatchIndex(row // 2, col // 2)
            assert package.maps.decision["rung"][index.row, index.col] == Rung.EXACT
            tile = ExactRung().source_tiles(package.payloads([index])[0])[row % 2][col % 2]
            tiff.filehandle.seek(page.dataoffsets[row * 10 + col])
            assert tile.data == tiff.filehandle.read(page.databytecounts[row * 10 + col])
    assert library.verify_package(tmp_path / "out.zarr", slide).ok


def test_flipped_bits_never_turn_tissue_white(flipped, sample_pixels, tmp_path):
    slide, _ = flipped
    compress(slide, tmp_path / "out.zarr", profile="exact")
    library.restore(tmp_path / "out.zarr", tmp_path / "all.npy")
    restored = np.load(tmp_path / "all.npy")
    tissue = sample_pixels[960:1200, 960:1200]
    shown = restored[960:1200, 960:1200]
    assert (tissue.min(axis=2) > 235).mean() < 0.2
    assert (shown.min(axis=2) > 250).mean() < 0.2


def test_a_slide_is_never_written_to(sample_slide, tmp_path):
    with openslide.OpenSlide(sample_slide) as slide:
        before = slide.dimensions, sample_slide.read_bytes()
    compress(sample_slide, tmp_path / "out.zarr", profile="exact")
    assert before[1] == sample_slide.read_bytes()


def test_a_folder_that_is_not_there_is_not_made(sample_slide, tmp_path):
    with pytest.raises(NotFound):
        compress(sample_slide, tmp_path / "missing" / "out.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_package_is_said_to_be_none(sample_slide, tmp_path):
    for path in (sample_slide, tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFound, match="no package"):
            library.open_package(path)
