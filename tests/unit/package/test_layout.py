import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaslide.domain.errors import ChecksumMismatch, PackageError, UnsupportedVersion
from adaslide.domain.geometry import ShardIndex, Size
from adaslide.package.layout import (
    ARRAY_MEMBERS,
    array_from_objects,
    array_members,
    array_objects,
    level_metadata,
    multiscales,
    package_attributes,
    sealed,
    shard_key,
)
from adaslide.package.levels import LevelInfo, levels_of


def root(**attributes):
    return {"attributes": {"adaslide": {"format": 1, **attributes}}}


@pytest.mark.parametrize(
    ("size", "patch", "downsamples"),
    [
        (Size(2220, 2967), 480, [1, 16]),
        (Size(1, 1), 512, [1, 16]),
        (Size(8192, 8192), 512, [1, 16]),
        (Size(8193, 10), 512, [1, 16, 64]),
        (Size(100_000, 80_000), 512, [1, 16, 64, 256]),
    ],
)
def test_overviews_go_on_until_one_patch_holds_the_slide(size, patch, downsamples):
    levels = levels_of(size, patch)
    assert [level.downsample for level in levels] == downsamples
    assert [level.path for level in levels] == [str(n) for n in range(len(downsamples))]
    assert levels[1].size == size.shrunk(16)


def test_shard_keys_are_zarrs():
    assert shard_key(2, ShardIndex(3, 4)) == "2/c/0/3/4"


@pytest.mark.parametrize(
    ("size", "patch"), [(Size(2220, 2967), 480), (Size(10, 10), 16), (Size(99_999, 512), 512)]
)
def test_zarr_python_writes_the_metadata_that_the_format_states(size, patch):
    level = LevelInfo("0", 1, size)
    document = json.loads(level_metadata(level, patch, 243))
    assert {name: document[name] for name in ARRAY_MEMBERS} == array_members(level, patch, 243)
    assert document["dimension_names"] == ["c", "y", "x"]


def test_the_multiscales_hold_no_name_but_ours():
    ome = multiscales(levels_of(Size(100_000, 80_000), 512), 0.25)
    assert ome["version"] == "0.5"
    [scales] = ome["multiscales"]
    assert scales["name"] == "slide"
    assert [axis["name"] for axis in scales["axes"]] == ["c", "y", "x"]
    assert scales["axes"][1]["unit"] == scales["axes"][2]["unit"] == "micrometer"
    assert [d["coordinateTransformations"][0]["scale"] for d in scales["datasets"]] == [
        [1.0, 0.25 * factor, 0.25 * factor] for factor in (1, 16, 64, 256)
    ]


def test_a_sealed_root_gives_its_attributes_back():
    data = sealed(root(profile="archive@1", nested={"checksums": {"a": "12345678"}}))
    assert package_attributes(data)["profile"] == "archive@1"


@given(st.integers(0, 400))
def test_a_root_can_be_given_a_length_before_its_numbers_are_known(length):
    data = sealed(root(profile="archive@1"), length)
    assert len(data) == max(length, len(sealed(root(profile="archive@1"))))
    assert package_attributes(data)["profile"] == "archive@1"


@given(st.data())
def test_any_changed_byte_of_the_root_is_noticed(data):
    good = sealed(root(mpp=0.499, profile="archive@1"))
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] = data.draw(st.integers(0, 255).filter(lambda value: value != good[at]))
    with pytest.raises(PackageError):
        package_attributes(bytes(changed))


def test_a_root_cut_short_or_without_seal_is_refused():
    good = sealed(root())
    for bad in (b"", good[:-1], b"{}", b"[1]", b"\xff\xfe", good.replace(b'"checksum"', b'"chocksum"')):
        with pytest.raises(ChecksumMismatch):
            package_attributes(bad)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_versions_are_refused_by_name(version):
    with pytest.raises(UnsupportedVersion):
        package_attributes(sealed(root() | {"attributes": {"adaslide": {"format": version}}}))


def test_attributes_cannot_hold_a_second_seal():
    with pytest.raises(ValueError, match="checksum"):
        sealed(root(inner={"checksum": "00000000"}))


def test_nan_is_not_json():
    with pytest.raises(ValueError):
        sealed(root(value=float("nan")))


@pytest.mark.parametrize("dtype", ["u1", "u4", "f4"])
def test_small_arrays_come_back_even_when_they_are_all_fill(dtype):
    values = np.zeros((3, 5), dtype)
    objects = array_objects("decision/x", values, 0, ("row", "col"))
    assert set(objects) == {"decision/x/zarr.json", "decision/x/c/0/0"}
    found = array_from_objects("decision/x", objects)
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


@given(st.data())
def test_any_flipped_bit_of_a_small_array_is_noticed(data):
    objects = array_objects("a", np.arange(12, dtype="u4").reshape(3, 4), 0, ("row", "col"))
    chunk = bytearray(objects["a/c/0/0"])
    chunk[data.draw(st.integers(0, len(chunk) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(PackageError):
        array_from_objects("a", objects | {"a/c/0/0": bytes(chunk)})
