"""Notices that a worker hears nothing any more, though there is something to hear.

After a broker's restart a Celery consumer can wait for ever on a connection that is gone (celery #8030,
#8091, #10205). Nothing is lost by it, since the database hands work out, but a worker that is deaf does
none: it is better ended, and started again by whoever started it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from adaslide.domain.errors import BrokerUnavailable

DEAF_AFTER_S = 10.0
LOOK_S = 1.0


class Hearing:
    """``waiting`` tells how many messages wait in the worker's queues."""

    def __init__(self, waiting: Callable[[], int], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting = waiting
        self._clock = clock
        self._lock = Lock()
        self._busy = 0
        self._since: float | None = None
        self._next_look = 0.0

    @contextmanager
    def task(self) -> Iterator[None]:
        """A message was heard, and is worked on."""
        with self._lock:
            self._busy += 1
            self._since = None
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._since = None

    @property
    def deaf(self) -> bool:
        """Whether messages have waited for `DEAF_AFTER_S` seconds while the worker had nothing to do.

        Asks the broker at most every `LOOK_S` seconds; one that does not answer says nothing.
        """
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            try:
                waiting = self._waiting() > 0
            except BrokerUnavailable:
                waiting = False
            with self._lock:
                if self._busy or not waiting:
                    self._since = None
                elif self._since is None:
                    self._since = now
        since = self._since
        return since is not None and now - since >= DEAF_AFTER_S
