import asyncio
import threading

import pytest

from adaslide.domain.errors import Unavailable
from adaslide_api.gate import Gate
from adaslide_api.serving.fairness import Audience


def test_a_busy_gate_says_so_and_opens_again():
    async def crowd():
        gate, release = Gate(threads=1, queue=1), threading.Event()
        inside = [asyncio.create_task(gate.run(release.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert not gate.idle
        with pytest.raises(Unavailable):
            await gate.run(release.wait, 10)
        admitted = asyncio.create_task(gate.run_for(Audience("x"), lambda: "in", admitted=True))
        release.set()
        assert await asyncio.gather(*inside, admitted) == [True, True, "in"]
        assert gate.idle
        return await gate.run(lambda: "open")

    assert asyncio.run(crowd()) == "open"


def test_one_client_with_many_calls_does_not_delay_another():
    async def crowd():
        gate, release, order = Gate(threads=1, queue=1000), threading.Event(), []
        first = asyncio.create_task(gate.run(release.wait, 10))
        await asyncio.sleep(0)
        greedy = [
            asyncio.create_task(gate.run_for(Audience("greedy"), lambda: order.append("greedy")))
            for _ in range(500)
        ]
        await asyncio.sleep(0)
        modest = asyncio.create_task(gate.run_for(Audience("modest"), lambda: order.append("modest")))
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(first, modest, *greedy)
        return order.index("modest"), len(order)

    assert asyncio.run(crowd()) == (1, 501)


def test_a_call_nobody_waits_for_is_not_made_and_its_turn_is_not_lost():
    async def crowd():
        gate, release, made = Gate(threads=1, queue=9), threading.Event(), []
        running = asyncio.create_task(gate.run(release.wait, 10))
        calls = [asyncio.create_task(gate.run(made.append, number)) for number in range(3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        running.cancel()  # its thread goes on, so its place is not free yet
        await asyncio.sleep(0.05)
        assert (made, gate.idle) == ([], False)
        release.set()
        await asyncio.gather(calls[0], calls[2])
        assert gate.idle
        return made

    assert asyncio.run(crowd()) == [0, 2]


def test_a_turn_given_to_who_has_just_left_goes_to_the_next():
    async def crowd():
        gate, made = Gate(threads=1, queue=9), []
        running = asyncio.create_task(gate.run(made.append, "first"))
        leaving = asyncio.create_task(gate.run(made.append, "left"))
        staying = asyncio.create_task(gate.run(made.append, "stayed"))
        await running
        leaving.cancel()
        await staying
        assert leaving.cancelled() or "left" in made
        assert gate.idle
        return made[0], made[-1]

    assert asyncio.run(crowd()) == ("first", "stayed")


def test_errors_come_through_and_free_the_thread():
    async def crowd():
        gate = Gate(threads=1, queue=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await gate.run(lambda: 1 / 0)
        return gate.idle

    assert asyncio.run(crowd())
