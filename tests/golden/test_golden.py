"""Packages that must decode for ever, and damaged ones that must never decode."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from adaslide import codec_runtime
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.domain.errors import NotFound, PackageError, UnsupportedVersion
from adaslide.domain.geometry import Region
from adaslide.package.reader import PackageReader
from adaslide.pipeline.restore import Restoration

V1 = Path(__file__).parent / "v1"
EXPECTED = json.loads((V1 / "expected.json").read_text())


def everything(store) -> dict[str, bytes]:
    """Every pixel, map and fact of a package, as this library reads it."""
    reader = PackageReader(store)
    restoration = Restoration(reader, codec_runtime)
    read = {"icc": reader.info.icc or b"", "mpp": str(reader.info.mpp).encode()}
    for level in reader.info.levels:
        whole = Region(0, 0, level.size.width, level.size.height)
        read[level.path] = restoration.read(whole, level.downsample).pixels.tobytes()
    for group in (reader.maps.decision, reader.maps.quality):
        read |= {name: values.tobytes() for name, values in group.items()}
    return read


def copied(name: str) -> MemoryStore:
    store, source = MemoryStore(), FilesystemStore(V1 / f"{name}.zarr")
    for key, _ in source.list():
        store.put(key, source.get(key))
    return store


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_packages_decode(name):
    expected = EXPECTED[name]
    read = everything(FilesystemStore(V1 / f"{name}.zarr"))
    assert hashlib.sha256(read["0"]).hexdigest() == expected["pixels_sha256"]
    reader = PackageReader(FilesystemStore(V1 / f"{name}.zarr"))
    assert [reader.info.size.width, reader.info.size.height] == expected["size"]
    assert reader.info.patch == expected["patch"]
    assert reader.maps.decision["rung"].tolist() == expected["rungs"]
    assert float(reader.maps.quality["psnr"].mean()) == expected["psnr_mean"]


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_packages_decode_through_plain_zarr(name):
    group = zarr.open_group(V1 / f"{name}.zarr", mode="r")
    pixels = np.ascontiguousarray(np.moveaxis(group["0"][...], 0, 2))
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == EXPECTED[name]["pixels_sha256"]
    assert group["decision/rung"][...].tolist() == EXPECTED[name]["rungs"]


def test_the_golden_icc_profile():
    assert PackageReader(FilesystemStore(V1 / "rungs.zarr")).info.icc == bytes(range(256)) * 2


KEYS = sorted(key for key, _ in FilesystemStore(V1 / "shards.zarr").list())


@pytest.mark.parametrize("key", KEYS)
def test_a_damaged_object_is_never_read(key):
    """Flips, cuts, additions and loss, at positions drawn once and for all from a seed."""
    store = copied("shards")
    good = store.get(key)
    rng = np.random.default_rng(len(key) * 1009 + len(good))
    damaged: list[bytes | None] = [None, b"", good[:-1], good[: len(good) // 2], good[1:], good + b"\0"]
    for at in {0, len(good) - 1, *(int(v) for v in rng.integers(0, len(good), 4))}:
        flipped = bytearray(good)
        flipped[at] ^= 1 << int(rng.integers(0, 8))
        damaged.append(bytes(flipped))
    for data in damaged:
        if data is None:
            store.delete(key)
        else:
            store.put(key, data)
        # Without its root there is no package at all.
        with pytest.raises(NotFound if key == "zarr.json" and data is None else PackageError):
            everything(store)


@pytest.mark.parametrize("name", ["rungs", "exact"])
def test_every_payload_class_survives_no_flip(name):
    store = copied(name)
    key = "0/c/0/0/0"
    good = store.get(key)
    rng = np.random.default_rng(7)
    for at in rng.integers(0, len(good), 12):
        flipped = bytearray(good)
        flipped[at] ^= 1 << int(rng.integers(0, 8))
        store.put(key, bytes(flipped))
        with pytest.raises(PackageError):
            everything(store)


def test_a_package_of_the_future_is_refused_by_name():
    store = MemoryStore()
    store.put("zarr.json", (V1.parent / "future" / "zarr.json").read_bytes())
    with pytest.raises(UnsupportedVersion):
        PackageReader(store)
