"""Tiles and regions: out of a cache, of a computation under way, or made."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from adaslide.domain.errors import Unavailable
from adaslide.pipeline.restore import NetPatch, RestoredRegion, Unfinished
from adaslide.ports.cache import Cache
from adaslide_api.gate import Gate
from adaslide_api.packages import OpenPackage, Tile
from adaslide_api.serving.fairness import Audience
from adaslide_api.serving.flights import Flights
from adaslide_api.serving.net_queue import NetQueue
from adaslide_api.serving.timing import Level, Timing

T = TypeVar("T")

Read = Callable[[], Unfinished | RestoredRegion]
"""What a request shows: `Restoration.begin` of it, or a region that needs no net. Called in a thread."""

AHEAD = 8
"""Patches of one request that stand in the nets' queue together: a large region fills it for nobody."""

WRITES = 64
"""Tiles on their way to the shared cache; further ones are not shared."""


@dataclass(frozen=True, slots=True)
class Served:
    """A tile and where its time went."""

    tile: Tile
    timing: Timing


class Renderer:
    """Makes what routes serve, each thing once however many ask for it. For one event loop.

    No thread ever waits for a net: a request decodes in the gate's threads, leaves them, waits for its
    nets on the event loop, and comes back to be encoded. So what needs no net never waits for one.
    """

    def __init__(
        self,
        decode: Gate,
        nets: NetQueue,
        tiles: Cache[str, Tile],
        shared: Cache[str, bytes] | None,
        sharing: Gate,
    ) -> None:
        """``tiles`` are in memory, ``shared`` those of all processes, reached through ``sharing``."""
        self._decode = decode
        self._nets = nets
        self._tiles = tiles
        self._shared = shared
        self._sharing = sharing
        self._flights: Flights[str, Served] = Flights()
        self._patches: Flights[Any, RestoredRegion] = Flights()
        self._writes: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._flights and self._decode.idle and self._nets.idle

    def cached(self, tag: str) -> Tile | None:
        """The tile with that ETag, if it is in memory."""
        return self._tiles.get(tag)

    async def tile(self, package: OpenPackage, read: Read, suffix: str, tag: str, client: str) -> Served:
        """What ``read`` gives of ``package`` as ``suffix``, for ``client``; ``tag`` is its ETag.

        Raises `Unavailable` when too much waits already, and what ``read`` and the nets raise.
        """
        cached = self.cached(tag)
        if cached is not None:
            return Served(cached, Timing(Level.MEMORY))

        async def make(audience: Audience) -> Served:
            shared = await self._from_shared(tag, audience)
            if shared is not None:
                self._tiles.put(tag, shared)
                return Served(shared, Timing(Level.SHARED))
            served = await self._made(package, read, suffix, audience)
            self._tiles.put(tag, served.tile)
            self._share(tag, served.tile)
            return served

        return await self._together(tag, client, make)

    async def region(self, package: OpenPackage, read: Read, suffix: str, tag: str, client: str) -> Served:
        """`tile` of any size, which no cache keeps."""
        return await self._together(tag, client, lambda audience: self._made(package, read, suffix, audience))

    async def _together(self, tag: str, client: str, make: Callable[[Audience], Any]) -> Served:
        under_way = tag in self._flights
        served = await self._flights.share(tag, Audience(client), make)
        return Served(served.tile, Timing(Level.UNDER_WAY)) if under_way else served

    async def _made(self, package: OpenPackage, read: Read, suffix: str, audience: Audience) -> Served:
        timing = Timing()
        found = await self._in_threads(audience, timing, "decode", read)
        if isinstance(found, RestoredRegion):
            encode = partial(Tile.of, found, suffix)
        else:
            nets = found.nets
            restored = await self._restored(package, nets, audience, timing) if nets else []
            encode = partial(_encoded, found, restored, suffix)
        tile = await self._in_threads(audience, timing, "encode", encode, admitted=True)
        return Served(tile, timing)

    async def _in_threads(
        self,
        audience: Audience,
        timing: Timing,
        step: str,
        call: Callable[[], T],
        *,
        admitted: bool = False,
    ) -> T:
        asked = time.perf_counter()

        def timed() -> T:
            timing.seconds["queue"] += time.perf_counter() - asked
            with timing.spent(step):
                return call()

        return await self._decode.run_for(audience, timed, admitted=admitted)

    async def _restored(
        self, package: OpenPackage, nets: list[NetPatch], audience: Audience, timing: Timing
    ) -> list[RestoredRegion]:
        places = asyncio.Semaphore(AHEAD)
        waits: list[float] = []
        started = time.perf_counter()

        async def one(net: NetPatch) -> RestoredRegion:
            async with places:
                make = partial(self._run_net, package, net, waits)
                return await self._patches.share((package.record.id, net.view), audience, make)

        tasks = [asyncio.ensure_future(one(net)) for net in nets]
        try:
            restored = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()  # of those that remain when one of them failed or nobody waits any more
        waited = min(waits, default=0.0)
        timing.seconds["queue"] += waited
        timing.seconds["restore"] += time.perf_counter() - started - waited
        return restored

    async def _run_net(
        self, package: OpenPackage, net: NetPatch, waits: list[float], audience: Audience
    ) -> RestoredRegion:
        # While this one was decoded, another request may have had it restored.
        remembered = package.restoration.remembered(net.view)
        if remembered is not None:
            return remembered
        restored = await self._nets.restore((net.scale, net.digest), net.low, audience)
        waits.append(restored.waited)
        return package.restoration.restored(net, restored.pixels)

    async def _from_shared(self, tag: str, audience: Audience) -> Tile | None:
        if self._shared is None:
            return None
        try:
            packed = await self._sharing.run_for(audience, partial(self._shared.get, _key(tag)))
        except Unavailable:
            return None  # too many ask at once; the tile can be made without it
        return Tile.unpack(packed) if packed is not None else None

    def _share(self, tag: str, tile: Tile) -> None:
        if self._shared is None or len(self._writes) >= WRITES:
            return
        write = asyncio.ensure_future(self._write(self._shared, _key(tag), tile))
        self._writes.add(write)
        write.add_done_callback(self._writes.discard)

    async def _write(self, shared: Cache[str, bytes], key: str, tile: Tile) -> None:
        with suppress(Unavailable):
            await self._sharing.run(lambda: shared.put(key, tile.pack()))


def _encoded(unfinished: Unfinished, restored: list[RestoredRegion], suffix: str) -> Tile:
    for net, patch in zip(unfinished.nets, restored, strict=True):
        unfinished.lay(net.view.index, patch)
    return Tile.of(unfinished.result(), suffix)


def _key(tag: str) -> str:
    """The digest in an ETag: it names no slide."""
    return tag.strip('"')
