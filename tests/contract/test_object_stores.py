"""What every `ObjectStore` promises. A new backend is one more parameter here."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.domain.errors import ChecksumMismatch, Conflict, InputError, NotFound, StoreUnavailable
from adaslide.ports.objects import ObjectStore

BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    "..",
    "a/../b",
    ".",
    "a/./b",
    "a\\b",
    "a\0b",
    "a\nb",
    ".tmp-1",
    "a/.tmp-1",
    "k" * 1025,
]


@pytest.fixture(params=["filesystem", "memory"])
def store(request, tmp_path) -> ObjectStore:
    return FilesystemStore(tmp_path / "root") if request.param == "filesystem" else MemoryStore()


def test_what_was_put_is_got(store):
    store.put("a/b/c.bin", b"12345")
    assert store.get("a/b/c.bin") == b"12345"
    assert store.size("a/b/c.bin") == 5


def test_an_object_may_be_empty(store):
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert store.size("empty") == 0
    assert store.get_range("empty", 0, 0) == b""


def test_putting_again_replaces(store):
    store.put("k", b"a long value")
    store.put("k", b"short")
    assert store.get("k") == b"short"
    assert list(store.list()) == [("k", 5)]


def test_ranges_are_exact(store):
    store.put("k", bytes(range(100)))
    assert store.get_range("k", 10, 5) == bytes(range(10, 15))
    assert store.get_range("k", 95, 5) == bytes(range(95, 100))


@pytest.mark.parametrize(("start", "length"), [(96, 5), (100, 1), (1000, 1), (0, 101)])
def test_a_range_beyond_the_end_is_an_error(store, start, length):
    store.put("k", bytes(100))
    with pytest.raises(ChecksumMismatch):
        store.get_range("k", start, length)


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, -1)])
def test_a_negative_range_is_refused(store, start, length):
    store.put("k", bytes(100))
    with pytest.raises(InputError):
        store.get_range("k", start, length)


def test_a_missing_object(store):
    store.put("folder/k", b"1")
    for key in ("nothing", "folder", "folder/nothing", "folder/k/below"):
        assert store.size(key) is None
        with pytest.raises(NotFound):
            store.get(key)
        with pytest.raises(NotFound):
            store.get_range(key, 0, 1)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused_without_being_repeated(store, key):
    for call in (
        store.get,
        store.size,
        store.delete,
        lambda k: store.put(k, b""),
        lambda k: store.get_range(k, 0, 0),
    ):
        with pytest.raises(InputError) as caught:
            call(key)
        assert caught.value.message == "not the key of an object"
    assert list(store.list()) == []


def test_listing_is_by_key_and_by_prefix(store):
    keys = ["a/b", "a.b", "a/b.c", "a-b", "ab/c/d", "ab/c", "z", "a/0/1"]
    keys.remove("ab/c")
    for number, key in enumerate(keys):
        store.put(key, bytes(number))
    assert [key for key, _ in store.list()] == sorted(keys)
    assert dict(store.list())["z"] == keys.index("z")
    assert [key for key, _ in store.list("a/")] == ["a/0/1", "a/b", "a/b.c"]
    assert [key for key, _ in store.list("a/b")] == ["a/b", "a/b.c"]
    assert [key for key, _ in store.list("ab/c/d")] == ["ab/c/d"]
    assert list(store.list("none")) == []
    assert list(store.list("none/at/all")) == []


def test_deleting(store):
    store.put("a/b", b"1")
    store.put("a/c", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("a")
    store.delete("never/was")
    assert [key for key, _ in store.list()] == ["a/c"]
    store.delete("a/c")
    store.put("a", b"now an object of its own")
    assert store.size("a") == 24


def test_writers_and_readers_at_once_never_see_half_an_object(store):
    values = [bytes([n]) * 200_000 for n in range(4)]
    store.put("k/k", values[0])
    seen: list[bytes] = []

    def write(value: bytes) -> None:
        for _ in range(5):
            store.put("k/k", value)

    def read() -> None:
        seen.extend(store.get("k/k") for _ in range(40))

    threads = [threading.Thread(target=write, args=(v,)) for v in values] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 40
    assert all(value in values for value in seen)


def test_writers_beside_deleters_do_not_fail(store):
    def put_all() -> None:
        for number in range(50):
            store.put(f"deep/er/{number}", b"1")

    def delete_all() -> None:
        for number in range(200):
            store.delete(f"deep/er/{number % 50}")

    failures: list[BaseException] = []

    def run(action) -> None:
        try:
            action()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in (put_all, delete_all)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[ab.-]{1,2}x(/[ab]{1,2}y)?", fullmatch=True), st.binary(max_size=20), max_size=8
    )
)
def test_both_backends_agree(tmp_path_factory, objects):
    stores: list[ObjectStore] = [FilesystemStore(tmp_path_factory.mktemp("s")), MemoryStore()]
    files = {k for k in objects if not any(other.startswith(f"{k}/") for other in objects)}
    for store in stores:
        for key in files:
            store.put(key, objects[key])
    assert list(stores[0].list()) == list(stores[1].list())
    assert all(stores[0].get(key) == stores[1].get(key) for key in files)


class TestFilesystem:
    """What only files can get wrong."""

    def test_no_temporary_file_is_listed_or_left(self, tmp_path):
        store = FilesystemStore(tmp_path)
        store.put("a/b", b"1")
        (tmp_path / "a" / ".tmp-left-by-a-crash").write_bytes(b"half")
        assert list(store.list()) == [("a/b", 1)]
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [".tmp-left-by-a-crash", "b"]

    def test_links_are_not_followed(self, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        root = tmp_path / "root"
        root.mkdir()
        (root / "folder").symlink_to(outside)
        (root / "file").symlink_to(outside / "secret")
        store = FilesystemStore(root)
        assert list(store.list()) == []
        assert list(store.list("folder/")) == []
        for key in ("folder/secret", "file"):
            for call in (store.get, store.size, store.delete, lambda k: store.put(k, b"x")):
                with pytest.raises(InputError):
                    call(key)
        assert (outside / "secret").read_bytes() == b"secret"

    def test_the_root_itself_may_be_a_link(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real")
        FilesystemStore(tmp_path / "link").put("a/b", b"1")
        assert (tmp_path / "real/a/b").read_bytes() == b"1"

    def test_an_object_is_not_a_folder(self, tmp_path):
        store = FilesystemStore(tmp_path)
        store.put("a", b"1")
        store.put("b/c", b"1")
        for key in ("a/below", "b"):
            with pytest.raises(Conflict):
                store.put(key, b"2")
        assert list(store.list()) == [("a", 1), ("b/c", 1)]
        assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".tmp-")]

    def test_a_failed_write_leaves_the_old_object(self, tmp_path, monkeypatch):
        store = FilesystemStore(tmp_path)
        store.put("k", b"old")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreUnavailable) as caught:
            store.put("k", b"new")
        assert str(tmp_path) not in caught.value.message
        assert store.get("k") == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["k"]

    def test_nothing_is_made_before_the_first_put(self, tmp_path: Path):
        store = FilesystemStore(tmp_path / "root")
        assert list(store.list()) == []
        assert store.size("k") is None
        assert not (tmp_path / "root").exists()
