"""Where what was made once is kept for the next who asks: in memory, or beside all processes."""

from typing import Protocol, TypeVar

K_contra = TypeVar("K_contra", contravariant=True)
V = TypeVar("V")


class Cache(Protocol[K_contra, V]):
    """Best effort: it may forget anything at any time, and a broken one is an empty one, never an error.

    Safe for use by several threads at once. What was put under a key never changes.
    """

    def get(self, key: K_contra) -> V | None:
        """What was put under ``key``; None where it is not (or no longer) there."""
        ...

    def put(self, key: K_contra, value: V) -> None:
        """Keeps ``value``, unless it is too large or there is nowhere to keep it."""
        ...
