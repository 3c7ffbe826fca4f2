"""One computation for all who ask for the same thing at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from adaslide_api.serving.fairness import Audience

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    audience: Audience
    waiting: int = 0


class Flights(Generic[K, T]):
    """Computations under way, by key. A computation ends early when the last who waits for it has left."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    async def share(
        self, key: K, audience: Audience, make: Callable[[Audience], Coroutine[Any, Any, T]]
    ) -> T:
        """The result of ``make``, or of the computation of ``key`` that is under way.

        ``make`` is handed the audience that grows with everyone who joins. All get its error as well.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, make)
        flight.audience.follow(audience)
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._land(key, flight)
                flight.task.cancel()

    def _start(self, key: K, make: Callable[[Audience], Coroutine[Any, Any, T]]) -> _Flight[T]:
        audience = Audience()
        flight = _Flight(asyncio.ensure_future(make(audience)), audience)
        self._flights[key] = flight
        flight.task.add_done_callback(lambda _: self._land(key, flight))
        return flight

    def _land(self, key: K, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
