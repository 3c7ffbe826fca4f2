"""The S3 store on a network that fails: nothing is lost, nothing wrong is read, nothing hangs."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from adaslide.adapters.objects.s3 import BODY_ATTEMPTS, PART_BYTES, S3Store
from adaslide.adapters.objects.s3_client import s3_client
from adaslide.domain.errors import StoreUnavailable

READ_S, ATTEMPTS = 0.4, 2
PAUSES_S = 1.0
"""What boto3 waits at most before the second attempt."""
SLACK_S = 8.0
"""For a busy machine."""
DATA = os.urandom(100_000)
VERBS = ["get", "get_range", "get_file", "size", "list", "put", "create", "put_file", "delete"]


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.fresh_bucket()


@pytest.fixture(scope="module")
def client(s3):
    return s3.client()


@pytest.fixture
def direct(client, bucket, request):
    """The store without the proxy, empty."""
    return S3Store(client, bucket, f"{request.node.name}-{os.urandom(4).hex()}")


@pytest.fixture
def through_proxy(s3, bucket, fault_proxy, direct):
    """Makes the same store through the proxy."""

    def store(**client):
        settings = s3.settings(endpoint=fault_proxy.endpoint)
        return S3Store(s3_client(settings, **client), bucket, direct._prefix.rstrip("/"))

    return store


@pytest.fixture
def store(through_proxy):
    return through_proxy(attempts=ATTEMPTS)


def call(store, verb, tmp_path):
    """What the verb gives; objects "k" must be there and "new" must not."""
    file = tmp_path / "file"
    file.write_bytes(DATA)
    match verb:
        case "get":
            return store.get("k")
        case "get_range":
            return store.get_range("k", 5, 50_000)
        case "get_file":
            store.get_file("k", tmp_path / "target")
            return (tmp_path / "target").read_bytes()
        case "size":
            return store.size("k")
        case "list":
            return list(store.list("k"))
        case "put":
            return store.put("new", DATA)
        case "create":
            return store.create("new", DATA)
        case "put_file":
            return store.put_file("new", file)
        case "delete":
            return store.delete("k")


EXPECTED = {
    "get": DATA,
    "get_range": DATA[5:50_005],
    "get_file": DATA,
    "size": len(DATA),
    "list": [("k", len(DATA))],
    "put": None,
    "create": True,
    "put_file": None,
    "delete": None,
}


def check(direct, verb):
    """What the verb should have left behind."""
    if verb in ("put", "create", "put_file"):
        assert direct.get("new") == DATA
    elif verb == "delete":
        assert direct.size("k") is None


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["503", "reset", "lost"])
def test_a_fault_that_passes_is_not_noticed(fault_proxy, store, direct, tmp_path, kind, verb):
    direct.put("k", DATA)
    fault_proxy.fault(kind, times=1)
    assert call(store, verb, tmp_path) == EXPECTED[verb]
    assert kind in [fault for _, _, fault in fault_proxy.seen]
    check(direct, verb)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["500", "reset", "latency"])
def test_a_fault_that_stays_is_unavailable_in_time(fault_proxy, through_proxy, direct, tmp_path, kind, verb):
    direct.put("k", DATA)
    store = through_proxy(connect_s=1, read_s=READ_S, attempts=ATTEMPTS)
    fault_proxy.fault(kind, seconds=READ_S + 1)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        call(store, verb, tmp_path)
    rounds = BODY_ATTEMPTS if verb == "get_file" else 1
    assert time.monotonic() - begun < rounds * (ATTEMPTS * READ_S + PAUSES_S) + SLACK_S
    assert caught.value.retryable
    for secret in ("k'", store._bucket, "127.0.0.1", store._prefix):
        assert secret not in caught.value.message
    assert not (tmp_path / "target").exists()


def test_a_server_that_is_not_there_is_unavailable_in_time(fault_proxy, through_proxy):
    fault_proxy.close()
    store = through_proxy(connect_s=1, read_s=READ_S, attempts=ATTEMPTS)
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.get("k")
    assert time.monotonic() - begun < ATTEMPTS + PAUSES_S + SLACK_S


@pytest.mark.parametrize("verb", ["get", "get_range", "get_file", "list"])
def test_a_body_that_is_cut_is_never_taken_as_data(fault_proxy, store, direct, tmp_path, verb):
    direct.put("k", DATA)
    fault_proxy.fault("truncate", method="GET")
    with pytest.raises(StoreUnavailable):
        call(store, verb, tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    fault_proxy.clear()
    assert call(store, verb, tmp_path) == EXPECTED[verb]


def test_a_file_that_is_cut_once_is_fetched_whole(fault_proxy, store, direct, tmp_path):
    data = os.urandom(2 * PART_BYTES + 1)
    direct.put("k", data)
    fault_proxy.fault("truncate", method="GET", times=2)
    store.get_file("k", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == data
    assert [fault for _, _, fault in fault_proxy.seen].count("truncate") == 2


@pytest.mark.parametrize("kind", ["500", "reset"])
def test_a_failed_put_leaves_no_object(fault_proxy, store, direct, kind):
    fault_proxy.fault(kind, method="PUT")
    with pytest.raises(StoreUnavailable):
        store.put("new", DATA)
    assert list(direct.list()) == []


def uploads(s3, bucket):
    return s3.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])


@pytest.mark.parametrize("failing", [{"key": "*partNumber=2*"}, {"method": "POST", "key": "*uploadId=*"}])
def test_a_failed_multipart_put_leaves_nothing(fault_proxy, store, direct, s3, bucket, failing):
    fault_proxy.fault("500", **failing)
    with pytest.raises(StoreUnavailable):
        store.put("new", bytes(3 * PART_BYTES))
    assert list(direct.list()) == []
    assert uploads(s3, bucket) == []


def test_a_multipart_put_that_cannot_even_be_aborted_is_no_object(fault_proxy, store, direct, s3, bucket):
    fault_proxy.fault("500", key="*uploadId=*")
    with pytest.raises(StoreUnavailable):
        store.put("new", bytes(2 * PART_BYTES))
    assert list(direct.list()) == []
    (left,) = uploads(s3, bucket)
    s3.client().abort_multipart_upload(Bucket=bucket, Key=left["Key"], UploadId=left["UploadId"])


def test_a_part_that_fails_once_is_sent_again(fault_proxy, store, direct):
    data = os.urandom(2 * PART_BYTES + 1)
    fault_proxy.fault("reset", key="*partNumber=2*", times=1)
    fault_proxy.fault("503", method="POST", times=1)
    store.put("new", data)
    assert direct.get("new") == data


def test_a_lost_answer_to_the_last_request_of_a_multipart_put(fault_proxy, store, direct):
    """The upload may be unknown to the server by then: the caller tries the whole put again."""
    data = os.urandom(PART_BYTES + 1)
    fault_proxy.fault("lost", method="POST", key="*uploadId=*", times=1)
    try:
        store.put("new", data)
    except StoreUnavailable:
        store.put("new", data)
    assert direct.get("new") == data


def test_a_creator_whose_answer_was_lost_has_still_created(fault_proxy, store, direct):
    fault_proxy.fault("lost", method="PUT", times=1)
    assert store.create("new", b"mine")
    assert direct.get("new") == b"mine"
    # Not so when it was another's, were it the very same bytes.
    fault_proxy.fault("lost", method="PUT", times=1)
    assert not store.create("new", b"mine")


def test_a_storm(fault_proxy, through_proxy, direct):
    """Every third request fails, somehow: callers who try again get what they put, and nothing else."""
    store = through_proxy(attempts=3)
    for kind in ("500", "503", "reset", "lost", "truncate"):
        fault_proxy.fault(kind, share=0.07)
    tries = 0

    def again(verb, *args):
        nonlocal tries
        for _ in range(20):
            tries += 1
            try:
                return verb(*args)
            except StoreUnavailable:
                pass
        pytest.fail("twenty times in vain")

    def one(number):
        data = Random(number).randbytes(1000 + number)
        again(store.put, f"k/{number}", data)
        start = number % 1000
        return again(store.get, f"k/{number}") == data and (
            again(store.get_range, f"k/{number}", start, 7) == data[start : start + 7]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(one, range(60)))
    assert tries > 180
    assert list(direct.list()) == sorted((f"k/{n}", 1000 + n) for n in range(60))
