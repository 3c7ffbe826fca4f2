import json
import threading
from collections import Counter

import numpy as np
import pytest

from adaslide.adapters.objects.memory import MemoryStore
from adaslide.domain.errors import (
    ChecksumMismatch,
    NotFound,
    PackageError,
    RegionOutOfRange,
    UnsupportedVersion,
)
from adaslide.domain.geometry import PatchGrid, PatchIndex, ShardIndex, Size
from adaslide.package import reader as reader_module
from adaslide.package.layout import compact_json
from adaslide.package.levels import levels_of
from adaslide.package.reader import PackageReader
from adaslide.package.records import PatchMaps
from adaslide.package.shard import INDEX_BYTES
from adaslide.package.writer import write_icc, write_level, write_maps, write_root, write_shard

SIZE, PATCH, FILL, MPP = Size(600, 300), 16, 240, 0.25
GRID = PatchGrid(SIZE, PATCH)


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[str, str]] = Counter()

    def get_range(self, key, start, length):
        self.calls["range", key] += 1
        return super().get_range(key, start, length)


def payload_of(index: PatchIndex, level: int = 0) -> bytes:
    return f"payload {level} {index.row} {index.col}".encode() * (1 + index.col % 3)


def build(store, **root):
    """A package whose payloads are known bytes; columns divisible by 5 are absent."""
    levels = levels_of(SIZE, PATCH)
    for shard in GRID.shards():
        write_shard(store, 0, shard, {i: payload_of(i) if i.col % 5 else b"" for i in GRID.patches_of(shard)})
    write_level(store, levels[0], PATCH, FILL)
    for number, level in enumerate(levels[1:], 1):
        grid = PatchGrid(level.size, PATCH)
        chunks = {i: payload_of(i, number) for shard in grid.shards() for i in grid.patches_of(shard)}
        write_level(store, level, PATCH, FILL, chunks)
    maps = PatchMaps.empty(GRID.rows, GRID.cols)
    maps.decision["rung"][2, 3] = 6
    maps.quality["dice"][2, 3] = 0.875
    write_maps(store, maps)
    write_icc(store, b"an ICC profile")
    write_root(store, size=SIZE, patch=PATCH, mpp=MPP, attributes={"profile": "test@1", **root})
    return store


@pytest.fixture
def store() -> CountingStore:
    return build(CountingStore())


def test_the_metadata_comes_back(store):
    info = PackageReader(store).info
    assert (info.size, info.patch, info.fill, info.mpp) == (SIZE, PATCH, FILL, MPP)
    assert [(level.path, level.downsample) for level in info.levels] == [("0", 1), ("1", 16), ("2", 64)]
    assert info.attributes["profile"] == "test@1"
    assert info.icc == b"an ICC profile"


def test_a_package_without_icc_has_none():
    store = CountingStore()
    build(store)
    for key in ("icc/zarr.json", "icc/c/0"):
        store.delete(key)
    write_root(store, size=SIZE, patch=PATCH, mpp=MPP, attributes={})
    assert PackageReader(store).info.icc is None


def test_the_maps_come_back(store):
    maps = PackageReader(store).maps
    assert maps.decision["rung"].shape == (GRID.rows, GRID.cols)
    assert maps.decision["rung"][2, 3] == 6
    assert maps.quality["dice"][2, 3] == 0.875
    assert np.isnan(maps.quality["dice"][0, 0])


def test_payloads_come_in_the_order_asked_for(store):
    wanted = [PatchIndex(18, 37), PatchIndex(0, 1), PatchIndex(0, 5), PatchIndex(0, 16), PatchIndex(0, 1)]
    got = PackageReader(store).payloads(wanted)
    assert got == [payload_of(i) if i.col % 5 else None for i in wanted]


def test_every_payload_of_every_level_is_found(store):
    package = PackageReader(store)
    for level in range(3):
        grid = package.level_grid(level)
        indices = [i for shard in grid.shards() for i in grid.patches_of(shard)]
        expected = [None if level == 0 and i.col % 5 == 0 else payload_of(i, level) for i in indices]
        assert package.payloads(indices, level) == expected


def test_requests_are_few(store):
    package = PackageReader(store)
    row = [PatchIndex(0, col) for col in range(1, 5)]
    package.payloads(row)
    assert store.calls == {("range", "0/c/0/0/0"): 2}  # the index, and one run of neighbours
    package.payloads(row)
    assert store.calls["range", "0/c/0/0/0"] == 3  # the index is kept
    package.payloads([PatchIndex(0, 1), PatchIndex(0, 4)])
    assert store.calls["range", "0/c/0/0/0"] == 5  # not neighbours


def test_a_run_is_bounded(store, monkeypatch):
    monkeypatch.setattr(reader_module, "COALESCED_BYTES", 60)
    package = PackageReader(store)
    indices = [PatchIndex(0, col) for col in range(1, 5)]
    assert package.payloads(indices) == [payload_of(i) for i in indices]
    assert store.calls["range", "0/c/0/0/0"] > 3


def test_the_cache_of_indexes_is_bounded(store, monkeypatch):
    monkeypatch.setattr(reader_module, "INDEX_CACHE", 1)
    package = PackageReader(store)
    for _ in range(2):
        for col in (1, 17):
            package.payloads([PatchIndex(0, col)])
    assert store.calls["range", "0/c/0/0/0"] == 4


def test_absent_patches_cost_no_read_beyond_the_index(store):
    assert PackageReader(store).payloads([PatchIndex(0, 0), PatchIndex(0, 5)]) == [None, None]
    assert store.calls == {("range", "0/c/0/0/0"): 1}


@pytest.mark.parametrize(
    "index", [PatchIndex(-1, 0), PatchIndex(0, -1), PatchIndex(19, 0), PatchIndex(0, 38)]
)
def test_patches_outside_are_refused(store, index):
    with pytest.raises(RegionOutOfRange):
        PackageReader(store).payloads([index])


@pytest.mark.parametrize("level", [-1, 3])
def test_levels_outside_are_refused(store, level):
    with pytest.raises(RegionOutOfRange):
        PackageReader(store).payloads([PatchIndex(0, 0)], level)


def test_shard_bytes(store):
    assert PackageReader(store).shard_bytes(0, ShardIndex(0, 0)) == store.size("0/c/0/0/0")


def test_threads_share_a_reader(store):
    package = PackageReader(store)
    indices = [i for shard in GRID.shards() for i in GRID.patches_of(shard)]
    expected = package.payloads(indices)
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.append(package.payloads(indices) == expected))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


class TestWhatIsRefused:
    def test_no_package(self):
        with pytest.raises(NotFound):
            PackageReader(MemoryStore())

    def test_a_package_whose_root_is_not_written_yet(self, store):
        store.delete("zarr.json")
        with pytest.raises(NotFound):
            PackageReader(store)

    @pytest.mark.parametrize("key", ["0/zarr.json", "1/zarr.json", "icc/zarr.json", "icc/c/0"])
    def test_lost_metadata(self, store, key):
        store.delete(key)
        with pytest.raises(PackageError):
            PackageReader(store)

    @pytest.mark.parametrize("key", ["decision/rung/zarr.json", "quality/dice/c/0/0"])
    def test_lost_maps(self, store, key):
        store.delete(key)
        package = PackageReader(store)
        with pytest.raises(PackageError):
            _ = package.maps

    def test_a_lost_shard_is_not_glass(self, store):
        store.delete("0/c/0/0/0")
        with pytest.raises(PackageError):
            PackageReader(store).payloads([PatchIndex(0, 0)])

    @pytest.mark.parametrize("kept", [0, 1, INDEX_BYTES - 1, INDEX_BYTES, -1])
    def test_a_cut_shard(self, store, kept):
        store.put("0/c/0/0/0", store.get("0/c/0/0/0")[:kept])
        with pytest.raises(PackageError):
            PackageReader(store).payloads([PatchIndex(0, 1)])

    def test_a_changed_payload(self, store):
        data = bytearray(store.get("0/c/0/0/0"))
        data[5] ^= 1
        store.put("0/c/0/0/0", bytes(data))
        package = PackageReader(store)
        with pytest.raises(ChecksumMismatch):
            package.payloads([PatchIndex(0, 1)])
        assert package.payloads([PatchIndex(0, 2)]) == [payload_of(PatchIndex(0, 2))]

    @pytest.mark.parametrize(
        ("member", "value"),
        [("fill_value", 0), ("shape", [3, 300, 601]), ("shape", [3, -1, 600]), ("codecs", [])],
    )
    def test_changed_metadata(self, store, member, value):
        document = json.loads(store.get("0/zarr.json"))
        store.put("0/zarr.json", compact_json(document | {member: value}))
        with pytest.raises(ChecksumMismatch):
            PackageReader(store)

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("fill_value", 300),
            ("fill_value", None),
            ("shape", [4, 300, 600]),
            ("shape", [3, 0, 600]),
            ("shape", "xyz"),
            ("codecs", [{"name": "bytes"}]),
            ("data_type", "uint16"),
            ("chunk_key_encoding", {"name": "v2"}),
        ],
    )
    def test_another_kind_of_array_even_with_good_checksums(self, store, member, value):
        document = json.loads(store.get("0/zarr.json"))
        store.put("0/zarr.json", compact_json(document | {member: value}))
        write_root(store, size=SIZE, patch=PATCH, mpp=MPP, attributes={})
        with pytest.raises(PackageError):
            PackageReader(store)

    @pytest.mark.parametrize(("patch", "mpp"), [(0, MPP), (24, MPP), (32, MPP), (PATCH, 0.0), (PATCH, -1.0)])
    def test_a_root_that_contradicts_its_arrays(self, store, patch, mpp):
        write_root(store, size=SIZE, patch=patch or 16, mpp=mpp, attributes={})
        root = json.loads(store.get("zarr.json"))
        if patch == 0:
            from adaslide.package.layout import sealed

            root["attributes"]["adaslide"]["patch"] = 0
            store.put("zarr.json", sealed(root))
        with pytest.raises(PackageError):
            PackageReader(store)

    def test_a_newer_version(self, store):
        from adaslide.package.layout import sealed

        root = json.loads(store.get("zarr.json"))
        root["attributes"]["adaslide"]["format"] = 2
        store.put("zarr.json", sealed(root))
        with pytest.raises(UnsupportedVersion):
            PackageReader(store)

    def test_maps_of_another_grid(self, store):
        write_maps(store, PatchMaps.empty(GRID.rows, GRID.cols + 1))
        write_root(store, size=SIZE, patch=PATCH, mpp=MPP, attributes={})
        package = PackageReader(store)
        with pytest.raises(PackageError):
            _ = package.maps
