"""Who is served next: clients take turns, so that one of them with a thousand requests delays no other.

All of this runs on the event loop: nothing here is shared between threads.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from adaslide.domain.errors import Unavailable

T = TypeVar("T")


class Audience:
    """The clients for whom one computation is made. It stands in the line of each of them, so that
    whoever joins a computation that a busy client asked for does not wait for that client's turn."""

    def __init__(self, *clients: str) -> None:
        self._clients = dict.fromkeys(clients)
        self._told: list[Callable[[str], None]] = []

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(self._clients)

    def add(self, client: str) -> None:
        """One more who waits for it."""
        if client not in self._clients:
            self._clients[client] = None
            for tell in list(self._told):
                tell(client)

    def follow(self, other: "Audience") -> None:
        """Everyone who waits for ``other``, now or later, waits for this as well."""
        for client in other.clients:
            self.add(client)
        other.tell(self.add)

    def tell(self, joined: Callable[[str], None]) -> None:
        """Calls ``joined`` with every client that comes later."""
        self._told.append(joined)

    def forget(self, joined: Callable[[str], None]) -> None:
        """Calls it no more."""
        with suppress(ValueError):
            self._told.remove(joined)


@dataclass(eq=False, slots=True)
class Waiting(Generic[T]):
    """A place in the line of every client of ``audience``, until it is taken or removed.

    ``admitted``: it was let in before and is not sent away again.
    """

    load: T
    future: asyncio.Future[Any]
    audience: Audience
    join: Callable[[str], None]
    admitted: bool


class FairQueue(Generic[T]):
    """At most ``places`` wait. Clients take turns; each one's own come in the order of asking."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._count = 0
        # Sets that keep their order; the client whose turn is next comes first.
        self._lines: dict[str, dict[Waiting[T], None]] = {}

    def __len__(self) -> int:
        return self._count

    def put(self, load: T, audience: Audience, *, admitted: bool = False) -> Waiting[T]:
        """A place at the end of the lines of ``audience``.

        When all are taken, the last of the longest line loses its place (its future raises
        `Unavailable`) if that line is longer than the newcomer's; else this raises `Unavailable`.
        """
        if self._count >= self._places and not admitted:
            self._make_room(audience)

        def join(client: str) -> None:
            self._lines.setdefault(client, {})[waiting] = None

        future = asyncio.get_running_loop().create_future()
        waiting = Waiting(load, future, audience, join, admitted)
        for client in audience.clients:
            join(client)
        audience.tell(join)
        self._count += 1
        return waiting

    def take(self, fits: Callable[[T], bool] | None = None) -> Waiting[T] | None:
        """The next whose load ``fits``, out of its lines; None when there is none."""
        for client, line in list(self._lines.items()):
            for waiting in line:
                if fits is None or fits(waiting.load):
                    self.remove(waiting)
                    if client in self._lines:
                        self._lines[client] = self._lines.pop(client)
                    return waiting
        return None

    def remove(self, waiting: Waiting[T]) -> None:
        """Gives the place up, if it still has one."""
        waiting.audience.forget(waiting.join)
        found = False
        for client in waiting.audience.clients:
            line = self._lines.get(client, {})
            if waiting in line:
                found = True
                del line[waiting]
                if not line:
                    del self._lines[client]
        self._count -= found

    def _make_room(self, audience: Audience) -> None:
        own = min(len(self._lines.get(client, ())) for client in audience.clients)
        longest = max(self._lines.values(), key=len, default={})
        # Not one for which somebody else waits too, who asked for little.
        last = next((w for w in reversed(longest) if not w.admitted and len(w.audience.clients) == 1), None)
        if last is None or len(longest) <= own + 1:
            raise Unavailable("too many requests at once")
        self.remove(last)
        if not last.future.done():
            last.future.set_exception(Unavailable("too many requests at once"))
