"""Tiles beside the one just served, made while nobody waits for anything."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from adaslide.domain.errors import AdaSlideError, RegionOutOfRange
from adaslide.ports.cache import Cache
from adaslide_api.entity_tags import tile_tag
from adaslide_api.packages import OpenPackage, Tile

logger = logging.getLogger("adaslide_api.prefetch")

CANDIDATES = 32
"""Tiles that may be made ahead; of more, the oldest are forgotten: the viewer has moved on."""

QUIET_S = 0.05
"""How long nobody may have waited for anything before a tile is made ahead."""

PATIENCE_S = 2.0
"""How long quiet is waited for."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tile's address in a package, and its format."""

    package: OpenPackage
    level: int
    col: int
    row: int
    suffix: str

    def beside(self) -> Iterator["Candidate"]:
        """The four neighbours on the level, and the tile of the next smaller level that shows this one."""
        around = ((0, 1), (0, -1), (1, 0), (-1, 0))
        places = [(self.level, self.col + dx, self.row + dy) for dx, dy in around]
        for level, col, row in (*places, (self.level - 1, self.col // 2, self.row // 2)):
            if min(level, col, row) >= 0:
                yield Candidate(self.package, level, col, row, self.suffix)

    @property
    def tag(self) -> str:
        return tile_tag(self.package, self.level, self.col, self.row, self.suffix)

    def made(self) -> Tile:
        """Decoded, restored and encoded in the calling thread. Raises `RegionOutOfRange` where no tile is."""
        address = self.package.deepzoom.address(self.level, self.col, self.row)
        return Tile.of(self.package.restoration.read(address.region, address.downsample), self.suffix)


class Prefetcher:
    """Makes one tile at a time, in a thread of its own and only when ``idle``: a request that comes
    meanwhile stands in no line behind it, it merely shares the processor with that one tile."""

    def __init__(self, tiles: Cache[str, Tile], idle: Callable[[], bool]) -> None:
        self._tiles = tiles
        self._idle = idle
        self._candidates: OrderedDict[str, Candidate] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="adaslide-ahead")
        self._task: asyncio.Task[None] | None = None

    def served(self, tile: Candidate) -> None:
        """``tile`` went out to a viewer."""
        for candidate in tile.beside():
            tag = candidate.tag
            self._candidates[tag] = candidate
            self._candidates.move_to_end(tag)
        while len(self._candidates) > CANDIDATES:
            self._candidates.popitem(last=False)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._make_all())

    async def drained(self) -> None:
        """Until nothing is left to be made ahead."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def close(self) -> None:
        """Lets its thread go once it is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _make_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._candidates and await self._quiet():
            tag, candidate = self._candidates.popitem()
            if self._tiles.get(tag) is not None:
                continue
            try:
                self._tiles.put(tag, await loop.run_in_executor(self._thread, candidate.made))
            except RegionOutOfRange:
                continue  # beyond the slide's edge
            except AdaSlideError as error:
                # Whoever asks for that tile is told; here nobody did.
                logger.info("a tile was not made ahead: %s", error.code)
        self._candidates.clear()

    async def _quiet(self) -> bool:
        end = asyncio.get_running_loop().time() + PATIENCE_S
        while asyncio.get_running_loop().time() < end:
            if self._idle():
                await asyncio.sleep(QUIET_S)
                if self._idle():
                    return True
            else:
                await asyncio.sleep(QUIET_S)
        return False
