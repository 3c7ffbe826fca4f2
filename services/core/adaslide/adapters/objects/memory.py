"""Objects in a dictionary: for tests, and for what is assembled before it is written."""

from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from adaslide.adapters.objects.local_file import local_file_errors, written_whole
from adaslide.domain.errors import ChecksumMismatch, InputError, NotFound
from adaslide.ports.keys import checked_key


class MemoryStore:
    """An `ObjectStore` that lives as long as the process. Safe for use by several threads."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    def get(self, key: str) -> bytes:
        with self._lock:
            data = self._objects.get(checked_key(key))
        if data is None:
            raise NotFound("no such object")
        return data

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise InputError("a range of bytes is not negative")
        data = self.get(key)
        if start + length > len(data):
            raise ChecksumMismatch("an object ends before the bytes it should hold")
        return data[start : start + length]

    def size(self, key: str) -> int | None:
        with self._lock:
            data = self._objects.get(checked_key(key))
        return None if data is None else len(data)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        with self._lock:
            found = sorted((k, len(v)) for k, v in self._objects.items() if k.startswith(prefix))
        yield from found

    def put(self, key: str, data: bytes) -> None:
        with self._lock:
            self._objects[checked_key(key)] = bytes(data)

    def create(self, key: str, data: bytes) -> bool:
        with self._lock:
            if checked_key(key) in self._objects:
                return False
            self._objects[key] = bytes(data)
            return True

    def put_file(self, key: str, path: Path) -> None:
        with local_file_errors():
            data = path.read_bytes()
        self.put(key, data)

    def get_file(self, key: str, path: Path) -> None:
        data = self.get(key)
        with written_whole(path) as temporary:
            temporary.write_bytes(data)

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(checked_key(key), None)
