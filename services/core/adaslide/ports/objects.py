"""Where packages live. Keys are '/'-separated, relative, without '..' or empty parts.

Ask for the smallest protocol you use. Every verb may raise `StoreUnavailable`, after which a write may or may
not have happened, and `StoreRefused`, which trying again does not mend.
"""

from collections.abc import Iterator
from pathlib import Path
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


class CreateObject(Protocol):
    def create(self, key: str, data: bytes) -> bool:
        """Writes the object if there is none under ``key``; False, and nothing changed, if there is.
        Of callers at the same time exactly one gets True."""
        ...


class PutFile(Protocol):
    def put_file(self, key: str, path: Path) -> None:
        """`put` of a local file of any size."""
        ...


class PutParts(Protocol):
    """An object that comes in parts, over many calls and processes. It appears once it is completed.

    Parts are numbered from 1. All but the last have at least 5 MiB; S3 takes no smaller ones.
    """

    def begin_parts(self, key: str) -> str:
        """An id for the parts to come."""
        ...

    def put_part(self, key: str, parts_id: str, number: int, data: bytes) -> None:
        """Replaces the part if it is there. Raises `NotFound` when the parts were completed or given up."""
        ...

    def complete_parts(self, key: str, parts_id: str, size: int) -> None:
        """The object is the parts by their numbers; completing it again does nothing.

        Raises `ChecksumMismatch` unless they have ``size`` bytes in all, `NotFound` when they were given up.
        """
        ...

    def abort_parts(self, key: str, parts_id: str) -> None:
        """Frees the parts; none is no error."""
        ...


class GetFile(Protocol):
    def get_file(self, key: str, path: Path) -> None:
        """The whole object as the local file ``path``, which appears whole or not at all, replacing what was
        there; its folder is made. Raises `NotFound`."""
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
    """What writing a package takes."""


class FileStore(ObjectStore, CreateObject, PutFile, GetFile, Protocol):
    """Everything a backend offers. `tests/contract` holds each backend to it."""


class PartStore(FileStore, PutParts, Protocol):
    """What uploads in parts take."""
