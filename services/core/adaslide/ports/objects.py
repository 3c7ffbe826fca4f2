"""Where packages live. Keys are '/'-separated, relative, without '..' or empty parts.

Ask for the smallest protocol you use.
"""

from collections.abc import Iterator
from typing import Protocol


class GetObject(Protocol):
    def get(self, key: str) -> bytes:
        """The whole object. Raises `NotFound`, `StoreUnavailable`."""
        ...


class GetRange(Protocol):
    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``start``: one request. Raises `NotFound`, and
        `ChecksumMismatch` when the object ends before them."""
        ...


class HeadObject(Protocol):
    def size(self, key: str) -> int | None:
        """The object's size in bytes, None when there is none."""
        ...


class PutObject(Protocol):
    def put(self, key: str, data: bytes) -> None:
        """Writes the object whole or not at all, replacing what was there."""
        ...


class ListObjects(Protocol):
    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """(key, size) of every object whose key starts with ``prefix``, by key."""
        ...


class DeleteObject(Protocol):
    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is no error."""
        ...


class ReadStore(GetObject, GetRange, HeadObject, ListObjects, Protocol):
    """What reading a package takes."""


class ObjectStore(ReadStore, PutObject, DeleteObject, Protocol):
    """Everything a backend offers. `tests/contract` holds each backend to it."""
