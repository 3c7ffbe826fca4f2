"""What every `FileStore` promises. A new backend is one more parameter here."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.adapters.objects.prefixed import PrefixedStore
from adaslide.adapters.objects.s3 import PART_BYTES, S3Store
from adaslide.domain.errors import ChecksumMismatch, Conflict, InputError, NotFound, StoreUnavailable
from adaslide.ports.objects import FileStore

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


@pytest.fixture(scope="session")
def new_s3_store(s3):
    """Makes empty stores on the server."""
    client, bucket = s3.client(), s3.fresh_bucket()
    return lambda: S3Store(client, bucket, f"stores/{uuid4().hex}")


@pytest.fixture(params=["filesystem", "memory", "s3", "filesystem below", "memory below", "s3 below"])
def store(request, tmp_path) -> FileStore:
    backend, _, below = request.param.partition(" ")
    match backend:
        case "filesystem":
            whole = FilesystemStore(tmp_path / "root")
        case "memory":
            whole = MemoryStore()
        case "s3":
            whole = request.getfixturevalue("new_s3_store")()
    if not below:
        return whole
    # What lies beside the prefix is never seen, though its keys begin with the same letters.
    whole.put("packages/one.zarr-beside", b"beside")
    whole.put("packages/one", b"beside")
    return PrefixedStore(whole, "packages/one.zarr")


def test_what_was_put_is_got(store):
    store.put("a/b/c.bin", b"12345")
    assert store.get("a/b/c.bin") == b"12345"
    assert store.size("a/b/c.bin") == 5


def test_an_object_may_be_empty(store):
    store.put("empty", b"")
    assert store.get("empty") == b""
    assert store.size("empty") == 0
    assert store.get_range("empty", 0, 0) == b""
    assert list(store.list()) == [("empty", 0)]
    with pytest.raises(ChecksumMismatch):
        store.get_range("empty", 0, 1)


@pytest.mark.parametrize("key", ["ä/ü ö/ß.bin", "100%/a+b c", "片/🔬", "q?x=1&y=#z", "a'b\"<c>", " x /~"])
def test_a_key_may_have_any_letters(store, key):
    store.put(key, b"data")
    assert store.get(key) == b"data"
    assert store.get_range(key, 1, 2) == b"at"
    assert store.size(key) == 4
    assert list(store.list()) == [(key, 4)]
    assert list(store.list(key[:-1])) == [(key, 4)]
    assert not store.create(key, b"other")
    store.delete(key)
    assert store.size(key) is None


def test_create_writes_only_where_nothing_is(store):
    assert store.create("a/b", b"first")
    assert not store.create("a/b", b"second")
    assert store.get("a/b") == b"first"
    store.delete("a/b")
    assert store.create("a/b", b"")
    assert not store.create("a/b", b"third")
    assert store.get("a/b") == b""


def test_of_many_creators_exactly_one_wins(store):
    barrier = threading.Barrier(8)

    def create(key: str, data: bytes) -> bool:
        barrier.wait()
        return store.create(key, data)

    with ThreadPoolExecutor(8) as pool:
        for key in ("folder/one", "folder/two", "three"):
            mine = [f"{key} {n}".encode() for n in range(8)]
            won = list(pool.map(create, [key] * 8, mine))
            assert won.count(True) == 1
            assert store.get(key) == mine[won.index(True)]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12345])
def test_files_go_in_and_come_out(store, tmp_path, size):
    source, target = tmp_path / "source", tmp_path / "new folder" / "target"
    source.write_bytes(os.urandom(size))
    store.put_file("a/file.svs", source)
    assert store.size("a/file.svs") == size
    store.get_file("a/file.svs", target)
    assert target.read_bytes() == source.read_bytes()
    assert [entry.name for entry in target.parent.iterdir()] == ["target"]
    tail = size // 2
    assert store.get_range("a/file.svs", tail, size - tail) == source.read_bytes()[tail:]


def test_a_file_that_comes_out_replaces_the_one_there(store, tmp_path):
    (tmp_path / "target").write_bytes(b"a longer one")
    store.put("k", b"new")
    store.get_file("k", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_a_local_file_that_cannot_be_read_or_written_is_told_without_its_path(store, tmp_path):
    store.put("k", b"1")
    (tmp_path / "in the way").write_bytes(b"")
    for call in (
        lambda: store.put_file("k", tmp_path / "missing"),
        lambda: store.get_file("k", tmp_path / "in the way" / "file"),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert str(tmp_path) not in caught.value.message
    assert store.get("k") == b"1"


def test_a_large_object_is_put_whole(store):
    data = os.urandom(PART_BYTES + 1)
    store.put("large", data)
    assert store.get("large") == data


def test_many_objects_are_listed_over_several_answers(store):
    with ThreadPoolExecutor(8) as pool:
        keys = [f"c/{n % 7}{'/-.'[n % 3]}{n}" for n in range(1100)]
        list(pool.map(lambda key: store.put(key, b""), keys))
    assert [key for key, _ in store.list()] == sorted(keys)


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


def test_a_missing_object(store, tmp_path):
    store.put("folder/k", b"1")
    for key in ("nothing", "folder", "folder/nothing", "folder/k/below"):
        assert store.size(key) is None
        with pytest.raises(NotFound):
            store.get(key)
        for length in (0, 1):
            with pytest.raises(NotFound):
                store.get_range(key, 0, length)
        with pytest.raises(NotFound):
            store.get_file(key, tmp_path / "file")
    assert list(tmp_path.glob("*file*")) == []


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys_are_refused_without_being_repeated(store, key, tmp_path):
    for call in (
        store.get,
        store.size,
        store.delete,
        lambda k: store.put(k, b""),
        lambda k: store.get_range(k, 0, 0),
        lambda k: store.create(k, b""),
        lambda k: store.put_file(k, Path(__file__)),
        lambda k: store.get_file(k, tmp_path / "file"),
    ):
        with pytest.raises(InputError) as caught:
            call(key)
        assert caught.value.message == "not the key of an object"
    assert list(store.list()) == []
    assert not (tmp_path / "file").exists()


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
def test_the_backends_agree(tmp_path_factory, new_s3_store, objects):
    stores: list[FileStore] = [
        FilesystemStore(tmp_path_factory.mktemp("s")),
        MemoryStore(),
        new_s3_store(),
    ]
    files = {k for k in objects if not any(other.startswith(f"{k}/") for other in objects)}
    for store in stores:
        for key in files:
            store.put(key, objects[key])
    assert list(stores[0].list()) == list(stores[1].list()) == list(stores[2].list())
    assert all(store.get(key) == objects[key] for store in stores for key in files)


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
            with pytest.raises(Conflict):
                store.create(key, b"2")
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
