import asyncio
import threading
import time

import numpy as np
import pytest

from adaslide.domain.errors import ModelError, Unavailable, WeightsMissing
from adaslide.settings import Restoring
from adaslide_api.serving.fairness import Audience
from adaslide_api.serving.net_queue import NetQueue

A, B = (2, b"a"), (4, b"b")


class Doubler:
    """Doubles grey levels; records its batches; waits until it may go on."""

    scale = 2

    def __init__(self):
        self.batches, self.may_go_on = [], threading.Event()
        self.may_go_on.set()

    def restore(self, batch):
        self.batches.append([int(image[0, 0, 0]) for image in batch])
        assert self.may_go_on.wait(10)
        return [2 * image for image in batch]


class BatchDoubler(Doubler):
    """One whose calls are worth sharing."""

    at_once = 3


def image(level):
    return np.full((2, 2, 3), level, np.uint8)


def settings(**given):
    return Restoring(**{"threads": 1, "queue": 64, "window_ms": 1, **given})


async def asked(queue, net, levels, client="a"):
    tasks = [asyncio.create_task(queue.restore(net, image(level), Audience(client))) for level in levels]
    await asyncio.sleep(0)
    return tasks


def test_a_restorer_that_gains_nothing_by_batches_is_called_for_each_image():
    async def crowd():
        net = Doubler()
        queue = NetQueue(lambda *_: net, settings(window_ms=100))
        started = time.monotonic()
        results = await asyncio.gather(*await asked(queue, A, range(5)))
        assert time.monotonic() - started < 0.1
        assert [int(result.pixels[0, 0, 0]) for result in results] == [0, 2, 4, 6, 8]
        assert results[-1].waited >= results[0].waited >= 0
        assert queue.idle
        return net.batches

    assert asyncio.run(crowd()) == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    ("batch", "expected"), [(None, [[0], [1, 2, 3], [4, 5]]), (2, [[0], [1, 2], [3, 4], [5]])]
)
def test_those_that_wait_for_the_same_net_go_together(batch, expected):
    async def crowd():
        net = BatchDoubler()
        queue = NetQueue(lambda *_: net, settings(batch=batch))
        net.may_go_on.clear()
        first = await asked(queue, A, [0])
        await asyncio.sleep(0.05)  # it never waits for company
        rest = await asked(queue, A, range(1, 6))
        net.may_go_on.set()
        results = await asyncio.gather(*first, *rest)
        assert [int(result.pixels[0, 0, 0]) for result in results] == [0, 2, 4, 6, 8, 10]
        return net.batches

    assert asyncio.run(crowd()) == expected


def test_different_nets_never_share_a_call():
    async def crowd():
        nets = {A: BatchDoubler(), B: BatchDoubler()}
        queue = NetQueue(lambda *name: nets[name], settings())
        nets[A].may_go_on.clear()
        tasks = [task for level in range(3) for net in (A, B) for task in await asked(queue, net, [level])]
        nets[A].may_go_on.set()
        await asyncio.gather(*tasks)
        return nets[A].batches, nets[B].batches

    assert asyncio.run(crowd()) == ([[0], [1, 2]], [[0, 1, 2]])


def test_a_batch_holds_the_patches_of_all_clients_by_turns():
    async def crowd():
        net = BatchDoubler()
        queue = NetQueue(lambda *_: net, settings())
        net.may_go_on.clear()
        tasks = await asked(queue, A, [0])
        await asyncio.sleep(0.02)
        tasks += await asked(queue, A, range(10, 20), "greedy")
        tasks += await asked(queue, A, [1], "modest") + await asked(queue, A, [2], "third")
        net.may_go_on.set()
        await asyncio.gather(*tasks)
        return net.batches

    assert asyncio.run(crowd())[1] == [10, 1, 2]


def test_too_many_are_sent_away_and_those_who_left_are_not_computed():
    async def crowd():
        net = Doubler()
        queue = NetQueue(lambda *_: net, settings(queue=2))
        net.may_go_on.clear()
        running = await asked(queue, A, [0])
        await asyncio.sleep(0.02)
        waiting = await asked(queue, A, [1, 2])
        with pytest.raises(Unavailable):
            await queue.restore(A, image(3), Audience("a"))
        waiting[0].cancel()
        await asyncio.sleep(0)
        waiting += await asked(queue, A, [4])
        net.may_go_on.set()
        results = await asyncio.gather(*running, *waiting, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        return net.batches

    assert asyncio.run(crowd()) == [[0], [2], [4]]


def test_a_net_that_fails_fails_its_own_and_the_queue_goes_on():
    class Broken(Doubler):
        def restore(self, batch):
            raise ModelError("no")

    class Short(Doubler):
        def restore(self, batch):
            return []

    def find(scale, digest):
        if digest == b"missing":
            raise WeightsMissing("none")
        return {b"broken": Broken, b"short": Short}.get(digest, Doubler)()

    async def crowd():
        queue = NetQueue(find, settings())
        names = [(2, b"broken"), (2, b"missing"), (2, b"short"), A]
        tasks = [task for name in names for task in await asked(queue, name, [1])]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(result) for result in results[:3]], int(results[3].pixels[0, 0, 0]), queue.idle

    assert asyncio.run(crowd()) == ([ModelError, WeightsMissing, ValueError], 2, True)


def test_calls_run_side_by_side_when_there_are_threads():
    async def crowd():
        net = Doubler()
        queue = NetQueue(lambda *_: net, settings(threads=2))
        net.may_go_on.clear()
        tasks = await asked(queue, A, [0, 1, 2])
        await asyncio.sleep(0.05)
        running = len(net.batches)
        net.may_go_on.set()
        await asyncio.gather(*tasks)
        return running

    assert asyncio.run(crowd()) == 2
