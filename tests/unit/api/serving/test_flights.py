import asyncio

from adaslide.domain.errors import PackageError
from adaslide_api.serving.fairness import Audience
from adaslide_api.serving.flights import Flights


class Computation:
    """Counts how often it was begun, and waits until it may end."""

    def __init__(self, error=None):
        self.begun, self.cancelled, self.error, self.may_end = 0, 0, error, asyncio.Event()
        self.audiences = []

    async def __call__(self, audience):
        self.begun += 1
        self.audiences.append(audience)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return object()


async def start(*coroutines):
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0.01)
    return tasks


def test_the_same_is_made_once_for_all_who_ask_meanwhile():
    async def crowd():
        flights, make = Flights(), Computation()
        tasks = await start(*(flights.share("tile", Audience(client), make) for client in "abba"))
        assert "tile" in flights
        assert make.audiences[0].clients == ("a", "b")
        make.may_end.set()
        assert len(set(await asyncio.gather(*tasks))) == 1
        await asyncio.sleep(0)
        assert "tile" not in flights
        await flights.share("tile", Audience("a"), make)
        return make.begun

    assert asyncio.run(crowd()) == 2


def test_an_error_is_everyones():
    async def crowd():
        flights, make = Flights(), Computation(PackageError("broken"))
        tasks = await start(*(flights.share("tile", Audience(client), make) for client in "ab"))
        make.may_end.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(error) for error in asyncio.run(crowd())] == [PackageError, PackageError]


def test_it_goes_on_while_one_still_waits_and_ends_when_nobody_does():
    async def crowd():
        flights, make = Flights(), Computation()
        tasks = await start(*(flights.share("tile", Audience(client), make) for client in "ab"))
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        assert make.cancelled == 0
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        assert make.cancelled == 1
        # Whoever comes now is not given the computation that was given up.
        (late,) = await start(flights.share("tile", Audience("c"), make))
        make.may_end.set()
        assert await late
        return make.begun

    assert asyncio.run(crowd()) == 2
