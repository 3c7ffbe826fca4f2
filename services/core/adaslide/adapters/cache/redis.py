"""A cache that all processes share: Valkey or Redis."""

import logging
import time
from threading import Lock
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger("adaslide.cache")

PREFIX = "adaslide:tile:"


class RedisCache:
    """`Cache` of bytes by text. How much the server keeps is its own ``maxmemory``.

    After a failure it stays away from the server for ``pause_s`` and is an empty cache meanwhile: one
    request pays the ``timeout_s`` of a server that hangs, not every one. The log says so once for every
    outage, without the address, which may hold a password.
    """

    def __init__(
        self, url: str, *, ttl_s: int, entry_bytes: int, timeout_s: float, pause_s: float = 5.0
    ) -> None:
        """Connects at the first use. Entries are kept ``ttl_s`` seconds, none larger than ``entry_bytes``."""
        self._server = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._ttl_s = ttl_s
        self._entry_bytes = entry_bytes
        self._pause_s = pause_s
        self._lock = Lock()
        self._away_until = 0.0
        self._broken = False

    def get(self, key: str) -> bytes | None:
        if self._away:
            return None
        try:
            value = cast("bytes | None", self._server.get(PREFIX + key))
        except (RedisError, OSError) as error:
            self._failed(error)
            return None
        self._worked()
        return value

    def put(self, key: str, value: bytes) -> None:
        if self._away or len(value) > self._entry_bytes:
            return
        try:
            self._server.set(PREFIX + key, value, ex=self._ttl_s)
        except (RedisError, OSError) as error:
            self._failed(error)
        else:
            self._worked()

    def close(self) -> None:
        """Gives its connections back."""
        self._server.close()

    @property
    def _away(self) -> bool:
        return time.monotonic() < self._away_until

    def _failed(self, error: Exception) -> None:
        with self._lock:
            self._away_until = time.monotonic() + self._pause_s
            first, self._broken = not self._broken, True
        if first:
            logger.warning(
                "the shared cache does not answer (%s); tiles go on without it", type(error).__name__
            )

    def _worked(self) -> None:
        with self._lock:
            again, self._broken = self._broken, False
        if again:
            logger.warning("the shared cache answers again")
