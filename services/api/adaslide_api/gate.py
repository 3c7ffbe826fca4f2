"""A bounded way to the threads that decode: a busy service says so instead of growing its queue."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from adaslide.domain.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


class Gate:
    """At most ``threads`` calls run and ``queue`` more wait."""

    def __init__(self, threads: int, queue: int) -> None:
        self._limiter = CapacityLimiter(threads)
        self._places = threads + queue
        self._inside = 0

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, from a thread. Raises `Unavailable` when too many wait already."""
        if self._inside >= self._places:
            raise Unavailable("too many requests at once")
        self._inside += 1
        try:
            return await to_thread.run_sync(lambda: call(*args, **kwargs), limiter=self._limiter)
        finally:
            self._inside -= 1
