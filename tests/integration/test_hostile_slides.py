"""Slides that are damaged, hostile or no slides at all, through the real reader.

Promised: a typed error or the true pixels, never white ones in their place; no message with a path in
it; a reader that goes on working; no process left behind.
"""

import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from adaslide.adapters.slides.openslide import ChildSlideReader, ReaderLimits
from adaslide.domain.errors import (
    InputError,
    NotFound,
    SlideCorrupt,
    SlideTooLarge,
    SlideUnsupported,
    Unavailable,
)
from adaslide.domain.geometry import Region
from adaslide.domain.slide import TileLayout

SAMPLE = Path(__file__).parents[2] / "samples" / "CMU-1-Small-Region.svs"
TILE, COLS = 240, 10
BAD = 5 * COLS + 5
"""The tile that is damaged, in the midst of tissue."""
BAD_REGION = Region(5 * TILE, 5 * TILE, TILE, TILE)
GOOD_REGION = Region(3 * TILE, 2 * TILE, TILE, TILE)


@pytest.fixture(scope="module")
def original():
    with Image.open(SAMPLE) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def layout():
    """(offsets, byte counts) of the sample's tiles, and where the value of each tag stands."""
    with tifffile.TiffFile(SAMPLE) as tiff:
        page = tiff.pages.first
        return page.dataoffsets, page.databytecounts, {tag.name: tag.valueoffset for tag in page.tags}


@pytest.fixture
def patient(tmp_path):
    """A folder whose name must stand in no message."""
    folder = tmp_path / "DOE^JANE"
    folder.mkdir()
    return folder


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def refused(path: Path, *kinds: type[InputError], limits: ReaderLimits | None = None) -> None:
    before = children()
    with pytest.raises(kinds) as caught:
        ChildSlideReader(path, limits)
    assert type(caught.value) in kinds
    assert "DOE" not in str(caught.value)
    assert children() <= before


@pytest.mark.parametrize(
    "content",
    [b"", b"this is text\n" * 500, np.random.default_rng(0).bytes(300_000), b"II*\0" + b"\xff" * 200],
    ids=["empty", "text", "noise", "tiff header alone"],
)
def test_what_is_no_slide(patient, content):
    path = patient / "slide.svs"
    path.write_bytes(content)
    refused(path, SlideUnsupported)


def test_nothing_there(patient):
    with pytest.raises(NotFound) as caught:
        ChildSlideReader(patient / "slide.svs")
    assert "DOE" not in str(caught.value)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.66, 0.9, 0.999])
def test_truncated_svs(patient, part):
    path = patient / "slide.svs"
    path.write_bytes(SAMPLE.read_bytes()[: int(SAMPLE.stat().st_size * part)])
    refused(path, SlideUnsupported, SlideCorrupt)


def test_truncated_behind_its_directory(patient, original):
    """The directory stands first in this file, so that it opens; what is missing must be an error."""
    path = patient / "slide.tif"
    tifffile.imwrite(path, original, tile=(256, 256), photometric="rgb", compression="zlib")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with ChildSlideReader(path) as reader:
        assert np.array_equal(reader.read(Region(0, 0, 256, 256)), original[:256, :256])
        with pytest.raises(SlideCorrupt) as caught:
            reader.read(Region(1024, 2560, 256, 256))
        assert "DOE" not in str(caught.value)


def test_one_pixel(patient):
    path = patient / "slide.tif"
    tifffile.imwrite(path, np.zeros((1, 1, 3), np.uint8), tile=(16, 16), photometric="rgb")
    refused(path, SlideUnsupported)


def test_gigantic_declared_size(patient):
    """A file of some hundred bytes that says to be a million px wide and high."""
    tags = [
        (256, 4, 1, 1_000_000),
        (257, 4, 1, 1_000_000),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (277, 3, 1, 1),
        (322, 3, 1, 256),
        (323, 3, 1, 256),
        (324, 4, 1, 8),
        (325, 4, 1, 65536),
    ]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path = patient / "slide.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + bytes(4))
    refused(path, SlideTooLarge, SlideCorrupt, SlideUnsupported)


def test_more_pixels_than_allowed(patient):
    refused(SAMPLE, SlideTooLarge, limits=ReaderLimits(max_pixels=6_000_000))


def test_tiles_larger_than_allowed(patient):
    path = patient / "slide.tif"
    pixels = np.zeros((8192, 8192, 3), np.uint8)
    tifffile.imwrite(path, pixels, tile=(8192, 8192), photometric="rgb", compression="zlib")
    refused(path, SlideTooLarge)


def test_tile_side_declared_beyond_reason(patient, layout):
    data = bytearray(SAMPLE.read_bytes())
    for name in ("TileWidth", "TileLength"):
        struct.pack_into("<H", data, layout[2][name], 65520)
    path = patient / "slide.svs"
    path.write_bytes(data)
    refused(path, SlideTooLarge)


def test_a_directory_that_lists_too_few_tiles(patient, layout):
    """OpenSlide shows the tiles beyond the list as empty: they would become glass."""
    data = bytearray(SAMPLE.read_bytes())
    struct.pack_into("<H", data, layout[2]["ImageLength"], 9000)
    path = patient / "slide.svs"
    path.write_bytes(data)
    refused(path, SlideCorrupt)


def bomb(data: bytearray, offset: int, count: int) -> None:
    """The tile's own header says 65500 x 65500 px: 12 GiB once decoded."""
    frame = data.find(b"\xff\xc0", offset, offset + count)
    struct.pack_into(">HH", data, frame + 5, 65500, 65500)


def zeros(data: bytearray, offset: int, count: int) -> None:
    data[offset : offset + count] = bytes(count)


def other_tile(data: bytearray, offset: int, count: int) -> None:
    """The tile ends after a third: its tail is another tile's."""
    third = count // 3
    data[offset + third : offset + count] = data[offset + 2 : offset + 2 + count - third]


@pytest.mark.parametrize(("damage", "tile_is_kept"), [(bomb, False), (zeros, False), (other_tile, True)])
def test_a_damaged_tile_is_an_error_and_its_neighbours_are_read(
    patient, original, layout, damage, tile_is_kept
):
    data = bytearray(SAMPLE.read_bytes())
    damage(data, layout[0][BAD], layout[1][BAD])
    path = patient / "slide.svs"
    path.write_bytes(data)
    with ChildSlideReader(path) as reader:
        assert reader.facts.tiles == TileLayout(TILE, COLS, 13, 1_275_934)
        for _ in range(2):
            with pytest.raises(SlideCorrupt) as caught:
                reader.read(BAD_REGION)
            assert "DOE" not in str(caught.value)
            assert np.array_equal(
                reader.read(GOOD_REGION),
                original[GOOD_REGION.y : GOOD_REGION.bottom, GOOD_REGION.x : GOOD_REGION.right],
            )
        if tile_is_kept:
            offset, count = layout[0][BAD], layout[1][BAD]
            assert reader.tile(5, 5).data == data[offset : offset + count]
        else:
            with pytest.raises(SlideCorrupt):
                reader.tile(5, 5)
        small = reader.thumbnail(500)
        grey = (small == 128).all(axis=2)
        assert grey[1320 * 500 // 2967, 1320 * 500 // 2967], "unreadable places are grey, not white"
        assert grey.mean() < 0.05


def test_bit_flips_are_errors_or_pixels_never_white(patient, original, layout):
    """Flips inside every tenth tile. Many decode to something: then the tile's own bytes are still there."""
    random = np.random.default_rng(1)
    data = bytearray(SAMPLE.read_bytes())
    damaged = range(5, 130, 10)
    for index in damaged:
        for at in random.integers(layout[0][index] + 200, layout[0][index] + layout[1][index] - 2, 8):
            data[at] ^= 1 << int(random.integers(8))
    path = patient / "slide.svs"
    path.write_bytes(data)
    errors = 0
    with ChildSlideReader(path) as reader:
        for index in range(130):
            row, col = divmod(index, COLS)
            region = Region(
                col * TILE, row * TILE, min(TILE, 2220 - col * TILE), min(TILE, 2967 - row * TILE)
            )
            true = original[region.y : region.bottom, region.x : region.right]
            try:
                pixels = reader.read(region)
            except SlideCorrupt:
                assert index in damaged
                errors += 1
                continue
            if index not in damaged:
                assert np.array_equal(pixels, true)
            assert pixels.min() < 255 or true.min() == 255
            offset, count = layout[0][index], layout[1][index]
            assert reader.tile(row, col).data == data[offset : offset + count]
    assert errors


def test_a_tile_outside_the_file(patient, layout):
    data = bytearray(SAMPLE.read_bytes())
    struct.pack_into("<I", data, layout[2]["TileOffsets"] + 4 * BAD, len(data) - 10)
    path = patient / "slide.svs"
    path.write_bytes(data)
    refused(path, SlideCorrupt)


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [(signal.SIGSEGV, SlideCorrupt, "crashed"), (signal.SIGKILL, Unavailable, "killed")],
)
def test_a_killed_reader_is_replaced(original, number, error, said):
    with ChildSlideReader(SAMPLE) as reader:
        child = reader.child_pid
        assert str(child) in children()
        os.kill(child, number)
        with pytest.raises(error, match=said):
            reader.read(GOOD_REGION)
        expected = original[GOOD_REGION.y : GOOD_REGION.bottom, GOOD_REGION.x : GOOD_REGION.right]
        assert np.array_equal(reader.read(GOOD_REGION), expected)
        assert reader.child_pid != child


def test_a_hanging_reader_is_stopped_and_replaced():
    with ChildSlideReader(SAMPLE, ReaderLimits(timeout=3.0)) as reader:
        os.kill(reader.child_pid, signal.SIGSTOP)
        with pytest.raises(SlideCorrupt, match="hung"):
            reader.read(GOOD_REGION)
        assert reader.read(GOOD_REGION).shape == (TILE, TILE, 3)


def test_too_little_memory_is_an_error_not_a_death():
    with ChildSlideReader(SAMPLE, ReaderLimits(memory_bytes=24 << 20)) as reader:
        with pytest.raises((SlideTooLarge, SlideCorrupt)):
            reader.read(Region(0, 0, 2220, 2967))
        assert reader.read(Region(0, 0, 64, 64)).shape == (64, 64, 3)


def test_nothing_is_left_behind():
    before = children()
    reader = ChildSlideReader(SAMPLE)
    assert len(children() - before) == 1
    reader.close()
    assert children() == before
    reader = ChildSlideReader(SAMPLE)
    del reader
    assert children() == before
