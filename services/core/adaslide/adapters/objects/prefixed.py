"""The part of a store below one prefix, as a store of its own."""

from collections.abc import Iterator
from pathlib import Path

from adaslide.ports.keys import checked_key
from adaslide.ports.objects import FileStore


class PrefixedStore:
    """A `FileStore` of the objects of ``store`` whose keys begin with ``prefix`` and a '/'."""

    def __init__(self, store: FileStore, prefix: str) -> None:
        self._store = store
        self._prefix = f"{checked_key(prefix)}/"

    def get(self, key: str) -> bytes:
        return self._store.get(self._below(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._store.get_range(self._below(key), start, length)

    def get_file(self, key: str, path: Path) -> None:
        self._store.get_file(self._below(key), path)

    def size(self, key: str) -> int | None:
        return self._store.size(self._below(key))

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        for key, size in self._store.list(self._prefix + prefix):
            yield key.removeprefix(self._prefix), size

    def put(self, key: str, data: bytes) -> None:
        self._store.put(self._below(key), data)

    def put_file(self, key: str, path: Path) -> None:
        self._store.put_file(self._below(key), path)

    def create(self, key: str, data: bytes) -> bool:
        return self._store.create(self._below(key), data)

    def delete(self, key: str) -> None:
        self._store.delete(self._below(key))

    def _below(self, key: str) -> str:
        return self._prefix + checked_key(key)
