"""Tiles and regions of real packages: the pixels are those of a single read, whatever is shared."""

import asyncio
import io
import threading
from functools import partial

import numpy as np
import pytest

from adaslide.adapters.cache.memory import MemoryCache
from adaslide.domain.errors import Unavailable
from adaslide.domain.geometry import Region
from adaslide.pipeline.made_with import BICUBIC, restored_by
from adaslide_api.packages import Tile
from adaslide_api.serving.timing import Level


def pixels_of(served):
    return np.load(io.BytesIO(served.tile.data))


def by_net(package):
    return [index for index, name in restored_by(package.reader).items() if name != BICUBIC]


def read_of(package, index):
    return partial(package.restoration.begin, package.reader.grid.region(index))


@pytest.mark.parametrize("restoring", [{}, {"batch": 8, "window_ms": 20, "threads": 1}])
def test_what_clients_restore_together_is_what_one_read_gives(
    net_package, open_with_memory, patch_memory, make_renderer, restoring
):
    package = open_with_memory(net_package[0], patch_memory)
    alone = open_with_memory(net_package[0]).restoration
    patches = by_net(package)
    assert len(patches) >= 3

    async def crowd():
        renderer = make_renderer(**restoring)
        return await asyncio.gather(
            *(
                renderer.region(package, read_of(package, index), "npy", f"{index}", f"client {number % 3}")
                for number, index in enumerate(patches)
            )
        )

    for index, served in zip(patches, asyncio.run(crowd()), strict=True):
        expected = alone.read(package.reader.grid.region(index))
        np.testing.assert_array_equal(pixels_of(served), expected.pixels)
        assert served.tile.provenance == expected.provenance == "restored"
        assert served.tile.weights == ", ".join(expected.weights) != ""
        assert served.timing.seconds["restore"] > 0


def test_the_whole_slide_at_once_is_what_one_read_gives(
    net_package, open_with_memory, patch_memory, make_renderer
):
    """More patches wait for nets than one request may have in the queue, and some of them twice."""
    package = open_with_memory(net_package[0], patch_memory)
    size = package.reader.info.size
    whole = Region(0, 0, size.width, size.height)
    part = Region(100, 100, 1500, 1500)

    async def crowd():
        renderer = make_renderer(queue=16)
        asked = (
            renderer.region(package, partial(package.restoration.begin, r), "npy", str(r), "a")
            for r in (whole, part, whole)
        )
        return await asyncio.gather(*asked)

    first, second, third = asyncio.run(crowd())
    expected = open_with_memory(net_package[0]).restoration.read(whole)
    np.testing.assert_array_equal(pixels_of(first), expected.pixels)
    np.testing.assert_array_equal(pixels_of(second), expected.pixels[100:1600, 100:1600])
    assert third.tile is first.tile
    assert third.timing.level is Level.UNDER_WAY


def test_a_patch_is_restored_once_for_all_that_show_it(
    restored_package, open_with_memory, patch_memory, make_renderer, counted_nets
):
    package = open_with_memory(restored_package[1], patch_memory)
    index = by_net(package)[0]
    read = read_of(package, index)

    async def crowd():
        renderer = make_renderer(restorers=counted_nets)
        for _ in range(2):
            await asyncio.gather(
                *(renderer.tile(package, read, suffix, suffix, "a") for suffix in ("png", "jpg", "webp")),
                *(renderer.tile(package, read, "png", "png", client) for client in "abc"),
                renderer.region(package, read, "npy", "r", "b"),
            )
        again = await renderer.tile(package, read, "png", "png", "d")
        return again, renderer.idle

    again, idle = asyncio.run(crowd())
    assert len(counted_nets.images) == 1
    assert again.timing.header == 'cache;desc="memory"'
    assert idle


def test_a_tile_made_in_one_process_is_served_by_another(
    restored_package, open_with_memory, make_renderer, counted_nets
):
    package = open_with_memory(restored_package[1])
    read = read_of(package, by_net(package)[0])
    shared = MemoryCache(2**24, len)

    async def one():
        renderer = make_renderer(shared)
        served = await renderer.tile(package, read, "png", '"0123"', "a")
        while shared.get("0123") is None:
            await asyncio.sleep(0.01)
        return served

    async def other():
        renderer = make_renderer(shared, counted_nets)
        served = [await renderer.tile(package, read, "png", '"0123"', "a") for _ in range(2)]
        return [s.timing.level for s in served], served[0].tile

    made = asyncio.run(one())
    levels, tile = asyncio.run(other())
    assert (levels, counted_nets.images) == ([Level.SHARED, Level.MEMORY], [])
    assert tile == made.tile


def test_a_shared_tile_that_was_changed_is_made_again(restored_package, open_with_memory, make_renderer):
    package = open_with_memory(restored_package[1])
    read = read_of(package, by_net(package)[0])
    shared = MemoryCache(2**24, len)
    shared.put("tag", Tile(b"pixels", "image/png", "original").pack()[:-1] + b"S")

    async def made():
        return await make_renderer(shared).tile(package, read, "png", '"tag"', "a")

    assert asyncio.run(made()).timing.level is Level.MADE


@pytest.mark.parametrize("packed", [b"", b"{", b"1\n", b"[]\nx", b'["a", "b", "c", "00"]\nx', b"\xff\n"])
def test_what_is_no_packed_tile_is_none(packed):
    assert Tile.unpack(packed) is None


def test_packed_tiles_come_back_whole():
    tile = Tile(b"\n\x00pixels\n", "image/png", "restored", "net@1")
    assert Tile.unpack(tile.pack()) == tile


def test_what_needs_no_net_does_not_wait_for_those_that_do(
    restored_package, exact_package, open_with_memory, make_renderer
):
    """The nets' queue is full and its threads are held: other tiles are served all the same."""
    nets, plain = open_with_memory(restored_package[1]), open_with_memory(exact_package[0])

    class Held:
        scale = 4

        def __init__(self):
            self.go_on = threading.Event()

        def restore(self, batch):
            assert self.go_on.wait(20)
            raise Unavailable("was held")

    net = Held()
    read = read_of(nets, by_net(nets)[0])

    async def crowd():
        renderer = make_renderer(restorers=lambda *_: net, queue=1, threads=1)
        waiting = [
            asyncio.create_task(renderer.region(nets, read, "npy", f"{number}", "a")) for number in range(8)
        ]
        await asyncio.sleep(0.3)
        region = Region(0, 0, 480, 480)
        served = await asyncio.wait_for(
            renderer.tile(plain, partial(plain.restoration.begin, region), "png", "plain", "a"), timeout=10
        )
        net.go_on.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        return served, results

    served, results = asyncio.run(crowd())
    assert served.tile.provenance == "original"
    assert all(isinstance(result, Unavailable) for result in results)


def test_nobody_waits_any_more_and_nothing_is_left(
    restored_package, open_with_memory, make_renderer, counted_nets
):
    package = open_with_memory(restored_package[1])
    read = read_of(package, by_net(package)[0])

    async def crowd():
        renderer = make_renderer(restorers=counted_nets)
        task = asyncio.create_task(renderer.tile(package, read, "png", "t", "a"))
        await asyncio.sleep(0)
        task.cancel()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if renderer.idle:
                return renderer.cached("t")
        return "busy"

    assert asyncio.run(crowd()) is None
    assert counted_nets.images == []


def test_a_region_that_needs_no_net_may_be_given_whole(exact_package, open_with_memory, make_renderer):
    package = open_with_memory(exact_package[0])
    region = Region(100, 200, 300, 200)
    expected = package.restoration.read(region)

    async def made():
        return await make_renderer().region(package, lambda: expected, "npy", "r", "a")

    served = asyncio.run(made())
    np.testing.assert_array_equal(pixels_of(served), expected.pixels)
    assert served.timing.seconds["restore"] == 0
