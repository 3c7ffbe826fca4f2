"""Any store, with its calls measured and traced. Keys stay out of both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaslide.observability.metrics import Metrics
from adaslide.observability.tracing import span
from adaslide.ports.objects import FileStore, PartStore


class ObservedStore:
    """`FileStore` that tells ``metrics`` about every call of ``store``."""

    def __init__(self, store: FileStore, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def get(self, key: str) -> bytes:
        with self._call("get"):
            return self._store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._call("get_range"):
            return self._store.get_range(key, start, length)

    def get_file(self, key: str, path: Path) -> None:
        with self._call("get_file"):
            self._store.get_file(key, path)

    def size(self, key: str) -> int | None:
        with self._call("size"):
            return self._store.size(key)

    def put(self, key: str, data: bytes) -> None:
        with self._call("put"):
            self._store.put(key, data)

    def put_file(self, key: str, path: Path) -> None:
        with self._call("put_file"):
            self._store.put_file(key, path)

    def create(self, key: str, data: bytes) -> bool:
        with self._call("create"):
            return self._store.create(key, data)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Measured until the first answer: how fast the rest is taken is the caller's affair."""
        found = iter(self._store.list(prefix))
        with self._call("list"):
            first = next(found, None)
        if first is not None:
            yield first
            yield from found

    def delete(self, key: str) -> None:
        with self._call("delete"):
            self._store.delete(key)

    @contextmanager
    def _call(self, operation: str) -> Iterator[None]:
        with span(f"store {operation}", kind="client"), self._metrics.store_call(operation):
            yield


class ObservedPartStore(ObservedStore):
    """The same of a `PartStore`."""

    def __init__(self, store: PartStore, metrics: Metrics) -> None:
        super().__init__(store, metrics)
        self._parts = store

    def begin_parts(self, key: str) -> str:
        with self._call("begin_parts"):
            return self._parts.begin_parts(key)

    def put_part(self, key: str, parts_id: str, number: int, data: bytes) -> None:
        with self._call("put_part"):
            self._parts.put_part(key, parts_id, number, data)

    def complete_parts(self, key: str, parts_id: str, size: int) -> None:
        with self._call("complete_parts"):
            self._parts.complete_parts(key, parts_id, size)

    def abort_parts(self, key: str, parts_id: str) -> None:
        with self._call("abort_parts"):
            self._parts.abort_parts(key, parts_id)
