"""Patches of all requests that wait for a net, and the threads that run it."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from adaslide.domain.pixels import Pixels
from adaslide.domain.rung import Scale
from adaslide.ports.restorer import Restorer, SupportsBatches
from adaslide.settings import Restoring
from adaslide_api.serving.fairness import Audience, FairQueue, Waiting

NetName = tuple[Scale, bytes]
"""Scale, and the sha256 of the weights."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a net made of one image, and the seconds that the image waited for it."""

    pixels: Pixels = field(repr=False)
    waited: float


@dataclass(frozen=True, slots=True)
class _Load:
    net: NetName
    low: Pixels
    since: float


class NetQueue:
    """Restores images by nets: those that wait for the same one in one call, clients by turns.

    How many go into a call is the restorer's to say (`SupportsBatches`), or the setting's. One that
    does not say is called for every image alone: on a CPU a batch takes as long as its images do one
    by one, and all of them would wait for the last. For one event loop.
    """

    def __init__(self, restorer_with: Callable[[Scale, bytes], Restorer], settings: Restoring) -> None:
        self._restorer_with = restorer_with
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="adaslide-net")
        self._waiting: FairQueue[_Load] = FairQueue(settings.queue)
        self._callers: set[asyncio.Task[None]] = set()
        self._calling = 0

    @property
    def idle(self) -> bool:
        """Whether no net runs and no image waits."""
        return not self._calling

    async def restore(self, net: NetName, low: Pixels, audience: Audience) -> Restored:
        """``low`` enlarged by ``net``; never computed when it is cancelled while it waits.

        Raises `Unavailable` when too many wait already, `ModelError`.
        """
        waiting = self._waiting.put(_Load(net, low, time.perf_counter()), audience)
        if self._calling < self._settings.threads:
            self._calling += 1
            caller = asyncio.ensure_future(self._call_while_any_wait())
            self._callers.add(caller)
            caller.add_done_callback(self._callers.discard)
        try:
            restored: Restored = await waiting.future
        except asyncio.CancelledError:
            self._waiting.remove(waiting)
            raise
        return restored

    def close(self) -> None:
        """Lets its threads go once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call_while_any_wait(self) -> None:
        try:
            while (first := self._waiting.take()) is not None:
                await self._call(first)
        finally:
            # Here and not when the task is done: whoever asks between the two would wait for nobody.
            self._calling -= 1

    async def _call(self, first: Waiting[_Load]) -> None:
        net, batch = first.load.net, [first]
        try:
            restorer = self._restorer_with(*net)
            at_once = self._at_once(restorer)
            self._fill(batch, at_once)
            if 1 < len(batch) < at_once:
                # Requests that come together come within milliseconds; a lone one is not made to wait.
                await asyncio.sleep(self._settings.window_ms / 1000)
                self._fill(batch, at_once)
            batch = [waiting for waiting in batch if not waiting.future.done()]
            started = time.perf_counter()
            lows = [waiting.load.low for waiting in batch]
            images = await asyncio.wrap_future(self._threads.submit(restorer.restore, lows)) if lows else []
            made = list(zip(batch, images, strict=True))
        except Exception as error:  # it is raised where each of them waits
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
            return
        for waiting, pixels in made:
            if not waiting.future.done():
                waiting.future.set_result(Restored(pixels, started - waiting.load.since))

    def _fill(self, batch: list[Waiting[_Load]], at_once: int) -> None:
        net = batch[0].load.net
        while len(batch) < at_once:
            waiting = self._waiting.take(lambda load: load.net == net)
            if waiting is None:
                return
            batch.append(waiting)

    def _at_once(self, restorer: Restorer) -> int:
        if self._settings.batch is not None:
            return self._settings.batch
        return restorer.at_once if isinstance(restorer, SupportsBatches) else 1
