"""Who waits for pixels, and for how long: until the deadline, and while somebody is there to see them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from adaslide.domain.access import LOCAL
from adaslide.domain.errors import RestoreTimeout
from adaslide_api.trail import trail_of

T = TypeVar("T")

CLIENT_GONE = 499
"""The status in the log of a request whose client did not wait for the answer."""


def client_of(request: Request) -> str:
    """Whose turn it is: the principal where the service knows one, else the address that asks."""
    principal = trail_of(request).principal
    if principal is not None and principal != LOCAL:
        return principal.id
    return request.client.host if request.client else ""


async def while_wanted(request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
    """The result of ``work``, which is cancelled when the client leaves (None) or the time is over.

    Raises `RestoreTimeout` after ``seconds``.
    """
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, left}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if left.done():
            left.result()  # it may have left by sending more than it may
            return None
        raise RestoreTimeout(f"the pixels were not there within {seconds:g} s")
    finally:
        task.cancel()
        left.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
