"""A call that is made again and again, from a thread of its own."""

from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Self


class Periodic:
    """Calls ``call`` every ``interval_s`` seconds until left, or until it says False."""

    def __init__(self, call: Callable[[], bool], interval_s: float, name: str) -> None:
        self._call = call
        self._interval_s = interval_s
        self._end = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Returns when no call is under way any more."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._interval_s) and self._call():
            pass
