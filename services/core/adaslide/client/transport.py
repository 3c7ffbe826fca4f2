"""Requests that are sent again where that is safe and may help."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from adaslide.client.problems import raise_for
from adaslide.domain.errors import Unavailable

LONGEST_WAIT_S = 60.0
FIRST_WAIT_S = 0.5


class Transport:
    """Sends requests to one service. ``attempts`` is how often one is sent that finds the service busy."""

    def __init__(
        self, http: httpx.Client, attempts: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.http = http
        self.attempts = attempts
        self._sleep = sleep

    def send(self, method: str, path: str, *, again: bool = True, **options: Any) -> httpx.Response:
        """The answer, which is 2xx.

        503 is tried again after its ``Retry-After``; with ``again`` also a connection that broke: say False
        where the same request twice would do something twice. Raises what the problem document says, and
        `Unavailable` when there is no answer.
        """
        with self.stream(method, path, again=again, **options) as response:
            response.read()
            return response

    @contextmanager
    def stream(
        self, method: str, path: str, *, again: bool = True, **options: Any
    ) -> Iterator[httpx.Response]:
        """The same, its body still to be read."""
        for left in reversed(range(self.attempts)):
            attempt = self.attempts - 1 - left
            try:
                response = self.http.send(self.http.build_request(method, path, **options), stream=True)
            except httpx.HTTPError as error:
                if not left or not again:
                    raise Unavailable("the service does not answer") from error
                self.pause(attempt)
                continue
            try:
                if response.status_code == 503 and left:
                    self._sleep(retry_after(response, self._backoff(attempt)))
                    continue
                if response.status_code >= 300:
                    response.read()
                    raise_for(response)
                yield response
            except httpx.HTTPError as error:
                raise Unavailable("the connection broke") from error
            finally:
                response.close()
            return

    def pause(self, attempt: int) -> None:
        """Waits before what failed is tried again, longer each time; ``attempt`` counts from 0."""
        self._sleep(self._backoff(attempt))

    @staticmethod
    def _backoff(attempt: int) -> float:
        return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt)


def retry_after(response: httpx.Response, otherwise: float) -> float:
    """Seconds that the answer asks to wait, bounded; ``otherwise`` where it names none."""
    text = response.headers.get("retry-after", "")
    return min(LONGEST_WAIT_S, float(text)) if text.isdecimal() else otherwise
