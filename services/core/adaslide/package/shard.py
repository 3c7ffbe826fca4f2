"""One shard object: payloads, then the index, as Zarr v3's ``sharding_indexed`` lays them down.

Byte map (little-endian; docs/package-format.md section 4)::

    ..     the chunks that exist, row by row: payload, 4 bytes CRC-32C of it
    4096   256 x (offset u64, length u64), row by row; 2^64 - 1 twice where there is no chunk
    4      CRC-32C of those 4096 bytes

Source: Zarr v3 specification, codecs "sharding_indexed" and "crc32c", https://zarr-specs.readthedocs.io.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import google_crc32c
import numpy as np
import numpy.typing as npt

from adaslide.domain.errors import ChecksumMismatch, PackageError
from adaslide.domain.geometry import SHARD_PATCHES

ABSENT = 2**64 - 1
CRC_BYTES = 4
_CHUNKS = SHARD_PATCHES * SHARD_PATCHES
INDEX_BYTES = _CHUNKS * 16 + CRC_BYTES


def crc32c(data: bytes) -> bytes:
    """The CRC-32C (Castagnoli) of ``data``, 4 bytes little-endian."""
    return int(google_crc32c.value(data)).to_bytes(CRC_BYTES, "little")


def checked(data: bytes, what: str) -> bytes:
    """``data`` without the CRC-32C that ends it; raises `ChecksumMismatch` when it does not fit."""
    body, stored = data[:-CRC_BYTES], data[-CRC_BYTES:]
    if len(data) < CRC_BYTES or crc32c(body) != stored:
        raise ChecksumMismatch(f"{what}: the stored checksum is not that of the stored bytes")
    return body


def build_shard(payloads: Mapping[tuple[int, int], bytes]) -> bytes:
    """The shard object of ``payloads`` by (row, col) inside the shard; an empty payload is an absent chunk.

    A shard without any payload is an object too, its index alone: so a lost object is never taken for glass.
    """
    table = np.full((SHARD_PATCHES, SHARD_PATCHES, 2), ABSENT, "<u8")
    parts: list[bytes] = []
    offset = 0
    for (row, col), payload in sorted(payloads.items()):
        if not (0 <= row < SHARD_PATCHES and 0 <= col < SHARD_PATCHES):
            raise IndexError(f"chunk {row}, {col} is outside a shard")
        if not payload:
            continue
        parts += (payload, crc32c(payload))
        length = len(payload) + CRC_BYTES
        table[row, col] = offset, length
        offset += length
    index = table.tobytes()
    return b"".join((*parts, index, crc32c(index)))


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a shard object, the chunk's CRC-32C included."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndexTable:
    """A shard's parsed index; every span lies in front of the index."""

    table: npt.NDArray[np.uint64]

    @classmethod
    def parse(cls, index: bytes, shard_bytes: int) -> Self:
        """Parses the last `INDEX_BYTES` of a shard object of ``shard_bytes``.

        Raises `ChecksumMismatch` when the checksum does not fit, `PackageError` for spans outside the object.
        """
        if len(index) != INDEX_BYTES:
            raise PackageError("shard: shorter than its index")
        table = np.frombuffer(checked(index, "shard index"), "<u8").reshape(SHARD_PATCHES, SHARD_PATCHES, 2)
        offset, length = table[..., 0], table[..., 1]
        absent = (offset == ABSENT) & (length == ABSENT)
        data_bytes = np.uint64(max(0, shard_bytes - INDEX_BYTES))
        # Compared without adding: a sum of two u64 may wrap around.
        inside = (
            (length > CRC_BYTES)
            & (length <= data_bytes)
            & (offset <= data_bytes - np.minimum(length, data_bytes))
        )
        if not np.all(absent | inside):
            raise PackageError("shard index: a chunk outside the object")
        return cls(table.astype(np.uint64))

    def span(self, row: int, col: int) -> Span | None:
        """Where the chunk at (row, col) inside the shard lies; None when it is absent."""
        offset, length = (int(v) for v in self.table[row, col])
        return None if offset == ABSENT else Span(offset, length)
