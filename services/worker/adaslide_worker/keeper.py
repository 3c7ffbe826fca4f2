"""Keeps a lease alive while its work goes on."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self

from adaslide.domain.errors import StoreUnavailable


class Keeper:
    """Calls ``renew`` every ``interval_s`` seconds from a thread, until left or until it says False.

    A thread, because nothing in the work itself comes by often enough: hashing a slide takes minutes. A
    process that is stopped or gone renews nothing, and its work passes on.
    """

    def __init__(self, renew: Callable[[], bool], interval_s: float) -> None:
        self._renew = renew
        self._interval_s = interval_s
        self._end = Event()
        self._thread = Thread(target=self._run, name="adaslide-lease", daemon=True)
        self.lost = Event()
        """Set once the work is not ours any more, or is not to go on."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            try:
                if not self._renew():
                    self.lost.set()
                    return
            except StoreUnavailable:
                continue  # the lease runs for a while yet; whoever ends the work will ask again
