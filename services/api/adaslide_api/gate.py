"""A bounded way to the threads that decode: a busy service says so instead of growing its queue."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from adaslide_api.serving.fairness import Audience, FairQueue

P = ParamSpec("P")
T = TypeVar("T")

ANYONE = ""
"""The client of calls that name none: they share one turn."""


class Gate:
    """At most ``threads`` calls run and ``queue`` more wait, clients by turns. For one event loop."""

    def __init__(self, threads: int, queue: int, name: str = "adaslide") -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._size = self._free = threads
        self._waiting: FairQueue[None] = FairQueue(queue)

    @property
    def idle(self) -> bool:
        """Whether nothing runs or waits."""
        return self._free == self._size

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, from a thread. Raises `Unavailable` when too many wait already."""
        return await self.run_for(Audience(ANYONE), partial(call, *args, **kwargs))

    async def run_for(self, audience: Audience, call: Callable[[], T], *, admitted: bool = False) -> T:
        """`run` in the turn of ``audience``; ``admitted`` waits however many there are.

        A call that is cancelled while it waits is never made.
        """
        await self._turn(audience, admitted)
        loop = asyncio.get_running_loop()
        # In the caller's context: what a request causes belongs to its trace.
        running = self._threads.submit(copy_context().run, call)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._pass_on)

        # When the thread is free again, which after a cancellation is later than the caller is.
        running.add_done_callback(ended)
        return await asyncio.wrap_future(running)

    def close(self) -> None:
        """Lets its threads go once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, audience: Audience, admitted: bool) -> None:
        if self._free:
            self._free -= 1
            return
        waiting = self._waiting.put(None, audience, admitted=admitted)
        try:
            await waiting.future
        except asyncio.CancelledError:
            self._waiting.remove(waiting)
            if waiting.future.done() and not waiting.future.cancelled() and not waiting.future.exception():
                self._pass_on()  # the turn had just been given
            raise

    def _pass_on(self) -> None:
        while (waiting := self._waiting.take()) is not None:
            if not waiting.future.done():
                waiting.future.set_result(None)
                return
        self._free += 1
