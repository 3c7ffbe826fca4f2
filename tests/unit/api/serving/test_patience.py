import asyncio
from dataclasses import replace

import pytest
from fastapi import Request

from adaslide.domain.access import LOCAL
from adaslide.domain.errors import RestoreTimeout, SlideTooLarge
from adaslide_api.serving.patience import client_of, while_wanted
from adaslide_api.trail import KEY, Trail


def request(receive=None, **scope):
    return Request({"type": "http", "headers": [], "state": {}, "client": ("10.0.0.7", 1), **scope}, receive)


class Client:
    """Sends its (empty) body, and leaves when it is told to."""

    def __init__(self, error=None):
        self.leaves, self.told, self.error = asyncio.Event(), False, error

    async def __call__(self):
        if not self.told:
            self.told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        if self.error:
            raise self.error
        return {"type": "http.disconnect"}


async def work(result, ended):
    try:
        await asyncio.sleep(0.1)
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise
    if isinstance(result, Exception):
        raise result
    return result


def test_the_result_comes_to_who_waits():
    assert asyncio.run(while_wanted(request(_staying()), work("pixels", []), 5)) == "pixels"
    with pytest.raises(ZeroDivisionError):
        asyncio.run(while_wanted(request(_staying()), work(ZeroDivisionError(), []), 5))


def _staying():
    async def receive():
        await asyncio.sleep(60)

    return receive


def test_nothing_is_computed_past_the_deadline():
    async def late():
        ended = []
        with pytest.raises(RestoreTimeout):
            await while_wanted(request(Client()), work("pixels", ended), 0.02)
        await asyncio.sleep(0)
        return ended

    assert asyncio.run(late()) == ["cancelled"]


def test_nothing_is_computed_for_who_has_left():
    async def gone():
        client, ended = Client(), []
        waiting = asyncio.create_task(while_wanted(request(client), work("pixels", ended), 5))
        await asyncio.sleep(0.02)
        client.leaves.set()
        result = await waiting
        await asyncio.sleep(0)
        return result, ended

    assert asyncio.run(gone()) == (None, ["cancelled"])


def test_who_sends_too_much_is_told_so():
    async def sends():
        client = Client(SlideTooLarge("too much"))
        client.leaves.set()
        with pytest.raises(SlideTooLarge):
            await while_wanted(request(client), work("pixels", []), 5)

    asyncio.run(sends())


def test_turns_are_those_of_principals_else_of_addresses():
    def of(principal):
        return {KEY: Trail(principal)}

    assert client_of(request(state=of(None))) == "10.0.0.7"
    assert client_of(request(client=None, state=of(None))) == ""
    assert client_of(request(state=of(replace(LOCAL, id="key-1")))) == "key-1"
    assert client_of(request(state=of(LOCAL))) == "10.0.0.7"  # everyone on this machine is
