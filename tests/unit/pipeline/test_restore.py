import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from adaslide import codec_runtime
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.domain.errors import PackageError, RegionOutOfRange, WeightsMissing
from adaslide.domain.geometry import PatchIndex, Region, Size
from adaslide.domain.pixels import pad_to, shrink
from adaslide.domain.rung import Provenance
from adaslide.package.reader import PackageReader
from adaslide.pipeline import restore
from adaslide.pipeline.restore import Restoration

GOLDEN = Path(__file__).parents[2] / "golden" / "v1"
NAMES = sorted(json.loads((GOLDEN / "expected.json").read_text()))


def opened(name: str) -> Restoration:
    return Restoration(PackageReader(FilesystemStore(GOLDEN / f"{name}.zarr")), codec_runtime)


def whole(restoration: Restoration, downsample: int = 1) -> np.ndarray:
    size = restoration.size_at(downsample)
    return restoration.read(Region(0, 0, size.width, size.height), downsample).pixels


def by_zarr(name: str, level: str = "0") -> np.ndarray:
    return np.moveaxis(zarr.open_group(GOLDEN / f"{name}.zarr", mode="r")[level][...], 0, 2)


def shrunk(pixels: np.ndarray, factor: int) -> np.ndarray:
    height, width = (-(-side // factor) * factor for side in pixels.shape[:2])
    return shrink(pad_to(pixels, height, width), factor)


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_slide_is_what_zarr_reads(name):
    assert np.array_equal(whole(opened(name)), by_zarr(name))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_region_is_that_part_of_the_whole(data):
    name = data.draw(st.sampled_from(["shards", "exact"]))
    restoration = opened(name)
    downsample = data.draw(st.sampled_from([1, 2, 8, 16, 32, 64, 128]))
    size = restoration.size_at(downsample)
    x, y = data.draw(st.integers(0, size.width - 1)), data.draw(st.integers(0, size.height - 1))
    region = Region(
        x, y, data.draw(st.integers(1, size.width - x)), data.draw(st.integers(1, size.height - y))
    )
    part = restoration.read(region, downsample).pixels
    assert np.array_equal(part, whole(restoration, downsample)[y : region.bottom, x : region.right])


@pytest.mark.parametrize("downsample", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
def test_sizes_round_up_down_to_one_pixel(downsample):
    restoration = opened("shards")
    assert whole(restoration, downsample).shape == (-(-299 // downsample), -(-600 // downsample), 3)


@pytest.mark.parametrize("downsample", [0, -1, 3, 12, 2048, 2**40])
def test_other_downsamples_are_refused(downsample):
    with pytest.raises(RegionOutOfRange):
        opened("shards").read(Region(0, 0, 1, 1), downsample)


@pytest.mark.parametrize("downsample", [2, 4, 8])
def test_previews_of_lossless_patches_are_the_means_of_their_pixels(downsample):
    restoration = opened("exact")
    size = Size(700 // downsample - 1, 480 // downsample)
    got = whole(restoration, downsample)[: size.height, : size.width].astype(int)
    expected = shrunk(by_zarr("exact"), downsample)[: size.height, : size.width]
    # Downsample 8 is a mean of means: half a grey level may be rounded twice.
    assert np.abs(got - expected).max() <= (1 if downsample == 8 else 0)


@pytest.mark.parametrize(
    ("downsample", "level", "factor"), [(16, "1", 1), (32, "1", 2), (64, "2", 1), (256, "2", 4)]
)
def test_far_views_come_from_the_overviews(downsample, level, factor):
    assert np.array_equal(whole(opened("shards"), downsample), shrunk(by_zarr("shards", level), factor))


@pytest.mark.parametrize(
    ("col", "row", "downsample", "provenance"),
    [
        (0, 0, 1, Provenance.LOSSY),
        (1, 0, 1, Provenance.RESTORED),
        (1, 0, 2, Provenance.PREVIEW),
        (1, 0, 4, Provenance.LOSSY),
        (1, 0, 8, Provenance.LOSSY),
        (2, 0, 2, Provenance.LOSSY),
        (3, 0, 1, Provenance.LOSSLESS),
        (0, 1, 1, Provenance.LOSSY),
        (1, 1, 1, Provenance.RESTORED),
        (2, 1, 1, Provenance.ORIGINAL),
        (2, 1, 8, Provenance.ORIGINAL),
        (3, 1, 1, Provenance.BACKGROUND),
        (0, 2, 1, Provenance.BACKGROUND),
    ],
)
def test_provenance_is_that_of_the_patch(col, row, downsample, provenance):
    side = 240 // downsample
    found = opened("rungs").read(Region(col * side + 3, row * side + 3, side // 2, side // 2), downsample)
    assert found.provenance is provenance


def test_two_kinds_are_mixed():
    restoration = opened("rungs")
    assert restoration.read(Region(200, 0, 100, 100)).provenance is Provenance.MIXED
    beside_glass = restoration.read(Region(500, 400, 100, 100))
    assert beside_glass.provenance is Provenance.MIXED


@pytest.mark.parametrize(
    "region", [Region(-1, 0, 5, 5), Region(0, -1, 5, 5), Region(596, 0, 5, 5), Region(0, 299, 1, 1)]
)
def test_regions_outside_are_refused(region):
    with pytest.raises(RegionOutOfRange):
        opened("shards").read(region)


def test_a_region_is_bounded(monkeypatch):
    monkeypatch.setattr(restore, "MAX_PIXELS", 100)
    opened("shards").read(Region(0, 0, 10, 10))
    with pytest.raises(RegionOutOfRange):
        opened("shards").read(Region(0, 0, 11, 10))


def test_batches_and_threads_change_nothing(monkeypatch):
    expected = whole(opened("shards"))
    monkeypatch.setattr(restore, "BATCH_PATCHES", 7)
    with ThreadPoolExecutor(2) as threads:
        reader = PackageReader(FilesystemStore(GOLDEN / "shards.zarr"))
        assert np.array_equal(whole(Restoration(reader, codec_runtime, threads)), expected)


class Memory(dict):
    """`Cache`; says how often it was put to."""

    puts = 0

    def put(self, key, value):
        self.puts += 1
        self[key] = value


@pytest.mark.parametrize("downsample", [1, 2, 8, 32])
def test_remembered_patches_are_the_same_and_read_nothing(downsample):
    expected, memory = whole(opened("rungs"), downsample), Memory()
    reader = PackageReader(FilesystemStore(GOLDEN / "rungs.zarr"))
    restoration = Restoration(reader, codec_runtime, memory=memory)
    assert np.array_equal(whole(restoration, downsample), expected)
    puts = memory.puts
    assert puts > 0
    for patch in memory.values():
        with pytest.raises(ValueError, match="read-only"):
            patch.pixels[0] = 0
    assert np.array_equal(whole(restoration, downsample), expected)
    assert memory.puts == puts


def test_what_waits_for_a_net_is_laid_by_whoever_runs_it(restored_package):
    memory = Memory()
    reader = PackageReader(FilesystemStore(restored_package[1]))
    restoration = Restoration(reader, codec_runtime, memory=memory)
    region = Region(300, 100, 600, 300)
    expected = restoration.read(region)
    memory.clear()
    unfinished = restoration.begin(region)
    assert unfinished.nets
    for net in unfinished.nets:
        restorer = codec_runtime.restorer_with(net.scale, net.digest)
        patch = restoration.restored(net, restorer.restore([net.low])[0])
        assert restoration.remembered(net.view) is patch
        unfinished.lay(net.view.index, patch)
    result = unfinished.result()
    assert np.array_equal(result.pixels, expected.pixels)
    assert (result.provenance, result.weights) == (expected.provenance, expected.weights)
    assert restoration.begin(region).nets == []
    assert restoration.begin(Region(150, 50, 300, 150), 2).nets == []


def test_payloads_without_a_net_have_nothing_to_be_restored():
    reader = PackageReader(FilesystemStore(GOLDEN / "rungs.zarr"))
    for payload in reader.payloads([PatchIndex(0, 0), PatchIndex(0, 1), PatchIndex(1, 2)]):
        with pytest.raises(PackageError):
            codec_runtime.stored_payload(payload, reader.info.patch)
    with pytest.raises(WeightsMissing):
        codec_runtime.restorer_with(4, bytes(32))
