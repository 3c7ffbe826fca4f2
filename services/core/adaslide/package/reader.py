"""Reads a package out of any `ReadStore`: checked metadata, maps, and payloads by range reads."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from adaslide.domain.errors import (
    ChecksumMismatch,
    NotFound,
    PackageError,
    RegionOutOfRange,
    UnsupportedVersion,
)
from adaslide.domain.fidelity import LATER_METRICS, METRICS
from adaslide.domain.geometry import SHARD_PATCHES, PatchGrid, PatchIndex, ShardIndex, Size
from adaslide.package.layout import (
    ARRAY_MEMBERS,
    ICC_PATH,
    ROOT_KEY,
    array_from_objects,
    array_members,
    metadata_key,
    package_attributes,
    parse_json,
    shard_key,
)
from adaslide.package.levels import LevelInfo, levels_of
from adaslide.package.records import DECISION_DTYPES, Map, PatchMaps
from adaslide.package.shard import INDEX_BYTES, ShardIndexTable, Span, checked, crc32c
from adaslide.ports.objects import ReadStore

INDEX_CACHE = 1024
"""Parsed shard indexes kept, 4 KB each."""

COALESCED_BYTES = 8 * 2**20
"""Adjacent payloads are fetched in one request up to this many bytes."""


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """What the metadata of a package says. ``mpp``: micrometres per pixel of level 0; ``fill``: grey level
    of absent chunks; ``attributes``: the root's ``adaslide`` block; ``icc``: the source's profile."""

    size: Size
    patch: int
    fill: int
    mpp: float
    levels: tuple[LevelInfo, ...]
    attributes: dict[str, Any]
    icc: bytes | None


class PackageReader:
    """An open package. Safe for use by several threads at once, if its store is."""

    def __init__(self, store: ReadStore) -> None:
        """Reads and checks the metadata. Raises `NotFound` where there is no package, `PackageError`."""
        self._store = store
        self._indexes: OrderedDict[str, tuple[ShardIndexTable, int]] = OrderedDict()
        self._lock = Lock()
        self._attributes = package_attributes(store.get(ROOT_KEY))
        checksums = self._attributes.get("checksums")
        if not isinstance(checksums, dict):
            raise PackageError("root metadata: no checksums")
        self._checksums: dict[str, Any] = checksums
        self.info = self._read_info()
        self.grid = PatchGrid(self.info.size, self.info.patch)

    def level_grid(self, level: int) -> PatchGrid:
        """The grid of chunks of a level (0 the slide, 1.. its overviews)."""
        if not 0 <= level < len(self.info.levels):
            raise RegionOutOfRange(f"there are levels 0 to {len(self.info.levels) - 1}, not {level}")
        return PatchGrid(self.info.levels[level].size, self.info.patch)

    @cached_property
    def maps(self) -> PatchMaps:
        """The decision and quality arrays. Raises `PackageError`."""
        for group in ("decision", "quality"):
            self._metadata_bytes(group)
        shape = (self.grid.rows, self.grid.cols)
        arrays = {
            name: self._array(f"decision/{name}", shape, dtype) for name, dtype in DECISION_DTYPES.items()
        }
        for name in METRICS:
            if metadata_key(f"quality/{name}") in self._checksums or name not in LATER_METRICS:
                arrays[name] = self._array(f"quality/{name}", shape, np.dtype("f4"))
        return PatchMaps.of(arrays)

    def payloads(self, indices: Sequence[PatchIndex], level: int = 0) -> list[bytes | None]:
        """The payload of each chunk of ``level``, in the order asked for; None for an absent one.

        One range read per shard index that is not cached, then one per run of adjacent chunks.
        Raises `PackageError` for a lost, cut or changed object, `RegionOutOfRange` outside the grid.
        """
        grid = self.level_grid(level)
        by_shard: dict[ShardIndex, set[PatchIndex]] = {}
        for index in indices:
            if not (0 <= index.row < grid.rows and 0 <= index.col < grid.cols):
                raise RegionOutOfRange(f"no patch {index.row}, {index.col} in {grid.rows} x {grid.cols}")
            by_shard.setdefault(grid.shard_of(index), set()).add(index)
        found: dict[PatchIndex, bytes] = {}
        for shard, wanted in by_shard.items():
            key = shard_key(level, shard)
            table, _ = self._index(key)
            spans = {i: table.span(i.row % SHARD_PATCHES, i.col % SHARD_PATCHES) for i in wanted}
            for run in _runs([(span, index) for index, span in spans.items() if span is not None]):
                start, end = run[0][0].offset, run[-1][0].end
                data = self._range(key, start, end - start)
                for span, index in run:
                    chunk = data[span.offset - start : span.end - start]
                    found[index] = checked(chunk, f"patch {index.row}, {index.col} of level {level}")
        return [found.get(index) for index in indices]

    def shard_bytes(self, level: int, shard: ShardIndex) -> int:
        """Size of a shard object, its index and checksums included."""
        return self._index(shard_key(level, shard))[1]

    def _read_info(self) -> PackageInfo:
        block = self._attributes
        document = self._metadata("0")
        try:
            channels, height, width = document["shape"]
            size, fill = Size(int(width), int(height)), int(document["fill_value"])
            patch, mpp = int(block["patch"]), float(block["mpp"])
        except (KeyError, TypeError, ValueError) as error:
            raise PackageError("metadata of level 0: a value is missing or of another kind") from error
        if channels != 3 or patch <= 0 or patch % 16 or not mpp > 0 or not 0 <= fill <= 255:
            raise PackageError("metadata of level 0: values that contradict the format")
        levels = levels_of(size, patch)
        for level in levels:
            found = self._metadata(level.path)
            if {key: found.get(key) for key in ARRAY_MEMBERS} != array_members(level, patch, fill):
                raise UnsupportedVersion(f"metadata of level {level.path}: an array this build does not read")
        icc = self._icc() if metadata_key(ICC_PATH) in self._checksums else None
        return PackageInfo(size, patch, fill, mpp, levels, block, icc)

    def _icc(self) -> bytes:
        document = self._metadata(ICC_PATH)
        shape = document.get("shape")
        if not isinstance(shape, list) or len(shape) != 1:
            raise PackageError("metadata of the ICC profile: not one-dimensional")
        return self._array(ICC_PATH, (int(shape[0]),), np.dtype("u1")).tobytes()

    def _metadata_bytes(self, path: str) -> bytes:
        key = metadata_key(path)
        try:
            data = self._store.get(key)
        except NotFound as error:
            raise PackageError(f"metadata of {path}: lost") from error
        if self._checksums.get(key) != crc32c(data).hex():
            raise ChecksumMismatch(f"metadata of {path}: not the bytes that were written")
        return data

    def _metadata(self, path: str) -> dict[str, Any]:
        return parse_json(self._metadata_bytes(path), f"metadata of {path}")

    def _array(self, path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Map:
        metadata = self._metadata_bytes(path)
        if parse_json(metadata, f"metadata of {path}").get("shape") != list(shape):
            raise PackageError(f"metadata of {path}: not of the grid's shape")
        chunk_key = f"{path}/c/{'/'.join('0' * len(shape))}"
        try:
            chunk = self._store.get(chunk_key)
        except NotFound as error:
            raise PackageError(f"array {path}: its values are lost") from error
        values = array_from_objects(path, {metadata_key(path): metadata, chunk_key: chunk})
        if values.shape != shape or values.dtype != dtype:
            raise PackageError(f"array {path}: not of the type the format states")
        return values

    def _index(self, key: str) -> tuple[ShardIndexTable, int]:
        with self._lock:
            cached = self._indexes.get(key)
            if cached is not None:
                self._indexes.move_to_end(key)
                return cached
        # Not under the lock: two threads may fetch the same index once, none waits for the other's request.
        size = self._store.size(key)
        if size is None:
            raise PackageError("a shard object is lost")
        if size < INDEX_BYTES:
            raise PackageError("shard: shorter than its index")
        entry = ShardIndexTable.parse(self._range(key, size - INDEX_BYTES, INDEX_BYTES), size), size
        with self._lock:
            self._indexes[key] = entry
            if len(self._indexes) > INDEX_CACHE:
                self._indexes.popitem(last=False)
        return entry

    def _range(self, key: str, start: int, length: int) -> bytes:
        try:
            return self._store.get_range(key, start, length)
        except NotFound as error:
            raise PackageError("a shard object is lost") from error


def _runs(chunks: list[tuple[Span, PatchIndex]]) -> Iterator[list[tuple[Span, PatchIndex]]]:
    """Groups chunks that lie side by side in the object, up to `COALESCED_BYTES` each."""
    run: list[tuple[Span, PatchIndex]] = []
    for span, index in sorted(chunks, key=lambda c: c[0].offset):
        if run and (span.offset != run[-1][0].end or span.end - run[0][0].offset > COALESCED_BYTES):
            yield run
            run = []
        run.append((span, index))
    if run:
        yield run
