import asyncio

from adaslide.adapters.cache.memory import MemoryCache
from adaslide_api.serving.prefetch import CANDIDATES, Candidate, Prefetcher


def tile(package, level, col, row):
    return Candidate(package, level, col, row, "jpg")


def test_neighbours_and_the_parent_are_made_and_no_others(exact_package, open_with_memory):
    package = open_with_memory(exact_package[0])
    cache, level = MemoryCache(2**26, lambda made: len(made.data)), package.deepzoom.max_level

    async def viewed():
        prefetcher = Prefetcher(cache, lambda: True)
        prefetcher.served(tile(package, level, 0, 0))
        await prefetcher.drained()

    asyncio.run(viewed())
    cols, rows = package.deepzoom.tiles(level)
    made = {
        (lvl, col, row)
        for lvl in range(level + 1)
        for col in range(cols)
        for row in range(rows)
        if cache.get(tile(package, lvl, col, row).tag) is not None
    }
    assert made == {(level, 1, 0), (level, 0, 1), (level - 1, 0, 0)}
    address = package.deepzoom.address(level, 1, 0)
    ahead = cache.get(tile(package, level, 1, 0).tag)
    assert ahead.provenance == package.restoration.read(address.region).provenance


def test_nothing_is_made_while_somebody_waits(exact_package, open_with_memory, monkeypatch):
    package = open_with_memory(exact_package[0])
    monkeypatch.setattr("adaslide_api.serving.prefetch.PATIENCE_S", 0.2)
    asked = []

    class Untouched:
        def get(self, key):
            asked.append(key)

        put = get

    async def viewed():
        prefetcher = Prefetcher(Untouched(), lambda: False)
        prefetcher.served(tile(package, package.deepzoom.max_level, 0, 0))
        await prefetcher.drained()

    asyncio.run(viewed())
    assert asked == []


def test_candidates_are_bounded_and_the_latest_comes_first(exact_package, open_with_memory):
    package = open_with_memory(exact_package[0])
    level, asked = package.deepzoom.max_level, []

    class Full:
        """Has everything already, so that nothing need be made."""

        def get(self, key):
            asked.append(key)
            return True

    async def viewed():
        prefetcher = Prefetcher(Full(), lambda: True)
        for row in range(100):
            prefetcher.served(tile(package, level, 5, 10 * row + 5))
        await prefetcher.drained()

    asyncio.run(viewed())
    assert len(asked) == CANDIDATES
    assert asked[0] == tile(package, level - 1, 2, 995 // 2).tag
