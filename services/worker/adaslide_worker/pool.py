"""Processes that run what they are given in several threads each.

`ProcessPoolExecutor` gives a process one thing at a time. What feeds a net on a graphics card does most of
its work in libraries that let other threads run, and should hold that net once.
"""

import os
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.managers import BaseManager, BaseProxy
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from adaslide.adapters.child import exit_with_parent

P = ParamSpec("P")
T = TypeVar("T")


class _Callee:
    """The process's end: each of the parent's threads has a thread of its own here."""

    def call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bool, Any]:
        """(True, the result) or (False, the error): whatever is raised is then the connection's."""
        try:
            return True, function(*args, **kwargs)
        except Exception as error:
            return False, error


class _CalleeProxy(BaseProxy):
    _exposed_ = ("call",)

    def call(self, *given: Any) -> tuple[bool, Any]:
        method: Any = self._callmethod  # its types say that it returns nothing
        reply: tuple[bool, Any] = method("call", given)
        return reply


class _Manager(BaseManager):
    pass


_Manager.register("callee", _Callee, _CalleeProxy)


class ThreadedProcess:
    """One process, started afresh, never forked; it ends with its parent."""

    def __init__(self) -> None:
        """Raises `BrokenExecutor` when it does not start."""
        self._manager = _Manager(ctx=get_context("spawn"))
        try:
            self._manager.start(exit_with_parent, (os.getpid(),))
            self._callee: _CalleeProxy = self._manager.callee()  # type: ignore[attr-defined]
        except (EOFError, OSError) as error:
            raise BrokenExecutor("a process did not start") from error

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``function`` over there; it and everything that it takes and gives is pickled.

        Raises what it raises, and `BrokenExecutor` when the process is lost.
        """
        try:
            done, result = self._callee.call(function, args, kwargs)
        except (EOFError, OSError) as error:
            raise BrokenExecutor("a process was lost") from error
        if not done:
            raise result
        value: T = result
        return value

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._manager.shutdown()


class ThreadedProcesses(ThreadPoolExecutor):
    """An executor on ``processes``, each of which is given ``threads`` things at a time."""

    def __init__(self, processes: list[ThreadedProcess], threads: int) -> None:
        super().__init__(len(processes) * threads, thread_name_prefix="adaslide-pool")
        self._free: SimpleQueue[ThreadedProcess] = SimpleQueue()
        for process in processes * threads:
            self._free.put(process)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        def call() -> T:
            process = self._free.get()
            try:
                return process.call(fn, *args, **kwargs)
            finally:
                self._free.put(process)

        return super().submit(call)
