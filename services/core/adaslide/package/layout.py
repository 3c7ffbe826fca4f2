"""What stands where in a package: keys, Zarr metadata, OME-Zarr 0.5 multiscales.

Metadata documents are made by zarr-python itself in memory, so that they are what any Zarr reader
expects, and then written as compact JSON.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy.typing as npt
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from adaslide.domain.errors import ChecksumMismatch, PackageError, UnsupportedVersion
from adaslide.domain.geometry import SHARD_PATCHES, ShardIndex
from adaslide.package.levels import LevelInfo
from adaslide.package.shard import crc32c
from adaslide.package.zarr_codec import CODEC_NAME, PatchCodec

FORMAT_VERSION = 1
"""``adaslide.format`` in the root: readers refuse what they do not know."""

ROOT_KEY = "zarr.json"
ICC_PATH = "icc"
_ZSTD_LEVEL = 19
_UNSEALED = "00000000"
_SEAL = re.compile(rb'"checksum":"([0-9a-f]{8})"')


def metadata_key(path: str) -> str:
    """The key of the metadata document of the array or group at ``path`` ("" is the root)."""
    return f"{path}/{ROOT_KEY}" if path else ROOT_KEY


def shard_key(level: int, shard: ShardIndex) -> str:
    """The key of a shard object of the array ``level``."""
    return f"{level}/c/0/{shard.row}/{shard.col}"


def compact_json(document: Any) -> bytes:
    """JSON without spaces, keys in their order; raises `ValueError` for NaN."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def parse_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in ``data``; raises `PackageError`."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"{what}: not JSON") from error
    if not isinstance(document, dict):
        raise PackageError(f"{what}: not a JSON object")
    return document


def sealed(document: dict[str, Any], length: int = 0) -> bytes:
    """The root document as bytes, its ``checksum`` set to the CRC-32C (8 hexadecimal digits) of those
    same bytes with zeros in the place of the digits. Spaces at the end make it ``length`` bytes long."""
    document["attributes"]["adaslide"]["checksum"] = _UNSEALED
    data = compact_json(document).ljust(length)
    found = _SEAL.findall(data)
    if len(found) != 1:
        raise ValueError("attributes of a package may not hold a member called 'checksum'")
    return _SEAL.sub(b'"checksum":"%s"' % crc32c(data).hex().encode(), data)


def package_attributes(root: bytes) -> dict[str, Any]:
    """The ``adaslide`` block of the root document.

    Raises `ChecksumMismatch`, `PackageError`, `UnsupportedVersion`: the seal and ``format`` are what
    every version of the format has in common.
    """
    found = _SEAL.findall(root)
    zeroed = _SEAL.sub(b'"checksum":"%s"' % _UNSEALED.encode(), root)
    if len(found) != 1 or crc32c(zeroed).hex().encode() != found[0]:
        raise ChecksumMismatch("root metadata: not the bytes that were written")
    attributes = parse_json(root, "root metadata").get("attributes")
    block = attributes.get("adaslide") if isinstance(attributes, dict) else None
    if not isinstance(block, dict):
        raise PackageError("root metadata: not a package of AdaSlide")
    if block.get("format") != FORMAT_VERSION:
        raise UnsupportedVersion(f"package format {block.get('format')!r}, this build reads {FORMAT_VERSION}")
    return block


def _objects(store: MemoryStore) -> dict[str, bytes]:
    async def collect() -> dict[str, bytes]:
        found = {}
        async for key in store.list():
            buffer = await store.get(key, default_buffer_prototype())
            if buffer is not None:
                found[key] = buffer.to_bytes()
        return found

    objects = sync(collect())
    return {k: compact_json(json.loads(v)) if k.endswith(ROOT_KEY) else v for k, v in objects.items()}


def level_metadata(level: LevelInfo, patch: int, fill: int) -> bytes:
    """The document of a level's array: (3, height, width) uint8, sharded, `adaslide.patch` inside."""
    side = SHARD_PATCHES * patch
    store = MemoryStore()
    zarr.create_array(
        store,
        name=level.path,
        shape=(3, level.size.height, level.size.width),
        dtype="uint8",
        chunks=(3, patch, patch),
        shards=(3, side, side),
        serializer=PatchCodec(),
        filters=None,
        compressors=Crc32cCodec(),
        fill_value=fill,
        dimension_names=("c", "y", "x"),
    )
    return _objects(store)[metadata_key(level.path)]


ARRAY_MEMBERS = (
    "zarr_format",
    "node_type",
    "shape",
    "data_type",
    "fill_value",
    "chunk_grid",
    "chunk_key_encoding",
    "codecs",
)
"""Members of a level's document that decide what its bytes mean."""


def array_members(level: LevelInfo, patch: int, fill: int) -> dict[str, Any]:
    """What `ARRAY_MEMBERS` must be. Written out, so that no release of zarr-python can move the format."""
    side = SHARD_PATCHES * patch
    sharding = {
        "chunk_shape": [3, patch, patch],
        "codecs": [{"name": CODEC_NAME}, {"name": "crc32c"}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [3, level.size.height, level.size.width],
        "data_type": "uint8",
        "fill_value": fill,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, side, side]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }


def group_metadata() -> bytes:
    """The document of a plain group (``decision``, ``quality``)."""
    store = MemoryStore()
    zarr.create_group(store)
    return _objects(store)[ROOT_KEY]


def array_objects(
    path: str, data: npt.NDArray[Any], fill_value: Any, names: Sequence[str]
) -> dict[str, bytes]:
    """Every object of a small array of one chunk (zstd, crc32c), by key.

    The chunk is written even where it holds only ``fill_value``: a lost object must be missed.
    """
    store = MemoryStore()
    array = zarr.create_array(
        store,
        name=path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=data.shape,
        filters=None,
        compressors=(ZstdCodec(level=_ZSTD_LEVEL), Crc32cCodec()),
        fill_value=fill_value,
        dimension_names=list(names),
        config={"write_empty_chunks": True},
    )
    array[...] = data
    return {k: v for k, v in _objects(store).items() if k.startswith(f"{path}/")}


def array_from_objects(path: str, objects: Mapping[str, bytes]) -> npt.NDArray[Any]:
    """The array whose objects `array_objects` made; raises `PackageError` for any that are damaged."""
    store = MemoryStore()
    prototype = default_buffer_prototype()

    async def fill() -> None:
        for key, data in objects.items():
            await store.set(key, prototype.buffer.from_bytes(data))

    sync(fill())
    try:
        return cast("npt.NDArray[Any]", zarr.open_array(store, path=path, mode="r")[...])
    except Exception as error:  # Zarr has no base class for what damaged bytes may raise.
        raise PackageError(f"array {path}: cannot be decoded") from error


def multiscales(levels: Sequence[LevelInfo], mpp: float) -> dict[str, Any]:
    """The ``ome`` block (OME-Zarr 0.5, https://ngff.openmicroscopy.org/0.5/). The name is a constant:
    a slide's own name may name a patient."""
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    datasets = [
        {
            "path": level.path,
            "coordinateTransformations": [
                {"type": "scale", "scale": [1.0, mpp * level.downsample, mpp * level.downsample]}
            ],
        }
        for level in levels
    ]
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    channels = [
        {"label": label, "color": color, "active": True, "window": window}
        for label, color in (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
    ]
    return {
        "version": "0.5",
        "multiscales": [{"name": "slide", "axes": axes, "datasets": datasets}],
        "omero": {"channels": channels, "rdefs": {"model": "color"}},
    }
