"""Lays a package down, object by object; the root last, which makes it visible."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from adaslide.domain.geometry import SHARD_PATCHES, PatchGrid, PatchIndex, ShardIndex, Size
from adaslide.package.layout import (
    FORMAT_VERSION,
    ICC_PATH,
    ROOT_KEY,
    array_objects,
    group_metadata,
    level_metadata,
    metadata_key,
    multiscales,
    sealed,
    shard_key,
)
from adaslide.package.levels import LevelInfo, levels_of
from adaslide.package.records import PatchMaps
from adaslide.package.shard import build_shard, crc32c
from adaslide.ports.objects import ObjectStore, PutObject


def write_shard(store: PutObject, level: int, shard: ShardIndex, payloads: Mapping[PatchIndex, bytes]) -> int:
    """Writes the shard of ``payloads``, given by their place in the level's grid; returns its bytes.

    A patch that is missing, or whose payload is empty, is an absent chunk: it reads as the fill value.
    """
    top, left = shard.row * SHARD_PATCHES, shard.col * SHARD_PATCHES
    data = build_shard({(index.row - top, index.col - left): payload for index, payload in payloads.items()})
    store.put(shard_key(level, shard), data)
    return len(data)


def write_level(
    store: PutObject,
    level: LevelInfo,
    patch: int,
    fill: int,
    payloads: Mapping[PatchIndex, bytes] | None = None,
) -> None:
    """Writes the level's metadata, and all its shards when ``payloads`` are given (overviews)."""
    if payloads is not None:
        grid = PatchGrid(level.size, patch)
        for shard in grid.shards():
            own = {index: payloads[index] for index in grid.patches_of(shard) if index in payloads}
            write_shard(store, int(level.path), shard, own)
    store.put(metadata_key(level.path), level_metadata(level, patch, fill))


def write_maps(store: PutObject, maps: PatchMaps) -> None:
    """Writes ``decision/`` and ``quality/``: one (rows, cols) array of one chunk each."""
    for group, arrays in (("decision", maps.decision), ("quality", maps.quality)):
        for name, values in arrays.items():
            fill = float("nan") if np.issubdtype(values.dtype, np.floating) else 0
            _put_all(store, array_objects(f"{group}/{name}", values, fill, ("row", "col")).items())
        store.put(metadata_key(group), group_metadata())


def write_icc(store: PutObject, icc: bytes) -> None:
    """Writes the source's ICC profile as a one-dimensional uint8 array."""
    _put_all(store, array_objects(ICC_PATH, np.frombuffer(icc, np.uint8), 0, ("byte",)).items())


def write_root(
    store: ObjectStore,
    *,
    size: Size,
    patch: int,
    mpp: float,
    attributes: Mapping[str, Any],
    length: int = 0,
) -> None:
    """Writes the root ``zarr.json``: from here on the package exists. Call it last.

    It is at least ``length`` bytes long, so that it can state the size of a package it is part of.

    ``attributes`` become the ``adaslide`` block, beside ``format``, ``mpp``, ``patch`` and the checksums of
    every metadata document in ``store``, which are added here. No value in it may name a patient.
    """
    documents = {key for key, _ in store.list() if key.endswith(f"/{ROOT_KEY}")}
    block = {
        **attributes,
        "format": FORMAT_VERSION,
        "patch": patch,
        "mpp": mpp,
        "checksums": {key: crc32c(store.get(key)).hex() for key in sorted(documents)},
    }
    ome = multiscales(levels_of(size, patch), mpp)
    root: dict[str, Any] = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"ome": ome, "adaslide": block},
    }
    store.put(ROOT_KEY, sealed(root, length))


def _put_all(store: PutObject, objects: Iterable[tuple[str, bytes]]) -> None:
    for key, data in objects:
        store.put(key, data)
