"""A cache in this process: bounded by bytes, the least recently used leave first."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class MemoryCache(Generic[K, V]):
    """`Cache` of at most ``limit`` bytes; ``size_of`` says how many a value takes."""

    def __init__(self, limit: int, size_of: Callable[[V], int]) -> None:
        self._limit = limit
        self._size_of = size_of
        self._used = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: K, value: V) -> None:
        size = self._size_of(value)
        with self._lock:
            # One that fits nowhere would drive out all others on its way.
            if key in self._values or size > self._limit:
                return
            self._values[key] = value
            self._used += size
            while self._used > self._limit:
                _, gone = self._values.popitem(last=False)
                self._used -= self._size_of(gone)
