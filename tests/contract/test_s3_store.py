"""What only an S3 server can get wrong."""

import io

import pytest

from adaslide.adapters.objects.s3 import PART_BYTES, S3Store, s3_store
from adaslide.adapters.objects.s3_client import encryption_of, s3_client
from adaslide.domain.errors import InputError, StoreRefused, StoreUnavailable
from adaslide.settings import Store, load_settings


@pytest.fixture(scope="module")
def bucket(s3):
    return s3.fresh_bucket()


def every_verb(store, tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    return {
        "get": lambda: store.get("k"),
        "get_range": lambda: store.get_range("k", 0, 1),
        "get_file": lambda: store.get_file("k", tmp_path / "target"),
        "size": lambda: store.size("k"),
        "list": lambda: list(store.list()),
        "put": lambda: store.put("k", b"1"),
        "put large": lambda: store.put("k", bytes(PART_BYTES + 1)),
        "put_file": lambda: store.put_file("k", tmp_path / "file"),
        "create": lambda: store.create("k", b"1"),
        "delete": lambda: store.delete("k"),
    }


def refusals(store, tmp_path):
    """{verb: what it said} of every verb that was refused."""
    told = {}
    for verb, call in every_verb(store, tmp_path).items():
        try:
            call()
        except StoreRefused as error:
            told[verb] = error
    assert not any(error.retryable for error in told.values())
    return told


@pytest.mark.parametrize("wrong", [{"secret_key": "wrong"}, {"access_key": "nobody"}])
def test_wrong_keys_are_told_by_every_verb(s3, bucket, tmp_path, wrong):
    told = refusals(s3_store(s3.settings(bucket, **wrong)), tmp_path)
    assert told.keys() == every_verb(None, tmp_path).keys()
    reason = "secret key is wrong" if "secret_key" in wrong else "does not know the access key"
    assert reason in told["get"].message
    for error in told.values():
        assert not any(word in error.message for word in ("wrong'", "nobody", bucket, s3.endpoint))


def test_a_missing_bucket_is_told(s3, tmp_path):
    told = refusals(s3_store(s3.settings("no-such-bucket")), tmp_path)
    # A HEAD has no body that could tell a missing bucket from a missing object.
    assert told.keys() == every_verb(None, tmp_path).keys() - {"size"}
    assert {error.message for error in told.values()} == {"the object store refuses: there is no such bucket"}


def test_a_policy_that_forbids_writing_is_told(s3, bucket, tmp_path):
    S3Store(s3.client(), bucket).put("k", b"1")
    told = refusals(s3_store(s3.settings(bucket, **s3.reader())), tmp_path)
    assert told.keys() == {"put", "put large", "put_file", "create", "delete"}
    assert {error.message for error in told.values()} == {
        "the object store refuses: its policy does not allow this"
    }
    assert S3Store(s3.client(), bucket).get("k") == b"1"


def test_a_name_that_is_no_bucket_is_told(s3):
    with pytest.raises(StoreRefused):
        S3Store(s3.client(), "Not A Bucket").put("k", b"")


def test_without_credentials(s3, bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    store = s3_store(s3.settings(bucket, access_key=None, secret_key=None))
    with pytest.raises(StoreRefused, match="no credentials"):
        store.get("k")


def test_one_key_without_the_other_is_refused():
    with pytest.raises(InputError, match="belong together"):
        s3_client(Store(access_key="only"))


def test_a_store_needs_a_url():
    with pytest.raises(InputError, match="ADASLIDE_STORE__URL"):
        s3_store(Store())


def test_stores_in_one_bucket_do_not_see_each_other(s3, bucket):
    whole = s3_store(s3.settings(bucket))
    one, two = s3_store(s3.settings(f"{bucket}/one")), s3_store(s3.settings(f"{bucket}/one-more/"))
    one.put("k", b"1")
    two.put("k", b"22")
    assert list(one.list()) == [("k", 1)]
    assert list(two.list()) == [("k", 2)]
    assert dict(whole.list("one"))["one-more/k"] == 2
    one.delete("k")
    assert two.get("k") == b"22"


def test_objects_that_are_no_keys_are_not_listed(s3, bucket):
    client = s3.client()
    for key in ("console/folder/", "console/k"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    assert list(S3Store(client, bucket, "console").list()) == [("k", 0)]


@pytest.mark.parametrize("key", ["ü" * 513, "\ud800"])
def test_a_key_that_s3_has_no_room_for_is_refused(s3, bucket, key):
    with pytest.raises(InputError, match="not the key of an object"):
        S3Store(s3.client(), bucket).put(key, b"")


def test_what_is_sent_carries_a_checksum_and_asks_for_encryption(s3, bucket, tmp_path):
    client = s3.client()
    store = S3Store(client, bucket, "sse", encryption=encryption_of(s3.settings(encryption="AES256")))
    (tmp_path / "file").write_bytes(bytes(PART_BYTES + 1))
    store.put("put", b"1")
    store.create("create", b"1")
    store.put_file("file", tmp_path / "file")
    for key in ("put", "create", "file"):
        head = client.head_object(Bucket=bucket, Key=f"sse/{key}", ChecksumMode="ENABLED")
        assert head["ServerSideEncryption"] == "AES256"
        assert head["ChecksumSHA256"]
    assert store.get("put") == b"1"
    assert store.size("file") == PART_BYTES + 1


def test_a_kms_key_is_named_with_every_write():
    asked = encryption_of(Store(encryption="aws:kms", kms_key="key-1"))
    assert asked == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}


@pytest.mark.parametrize("large", [False, True])
def test_bytes_damaged_on_their_way_are_not_stored(s3, bucket, large):
    """The server checks each write against the SHA-256 that came with it."""
    client = s3.client()

    def damage(request, **_):
        if request.method == "PUT" and request.body:
            request.data = io.BytesIO(b"x" + request.body.read()[1:])

    # After the checksum was made and before the request is signed.
    client.meta.events.register("before-sign.s3", damage)
    store, key = S3Store(client, bucket, "damaged"), f"large-{large}"
    with pytest.raises(StoreUnavailable):
        store.put(key, bytes(PART_BYTES + 1 if large else 10))
    assert s3.client().list_objects_v2(Bucket=bucket, Prefix="damaged/")["KeyCount"] == 0
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)


def test_secrets_do_not_show(s3):
    shown = repr(s3.settings("bucket", kms_key="key-1"))
    assert s3.secret_key not in shown
    assert s3.access_key not in shown
    assert "key-1" not in shown


def test_the_environment_is_read(s3, bucket, monkeypatch):
    for name, value in s3.environment(bucket).items():
        monkeypatch.setenv(name, value)
    store = s3_store(load_settings().store)
    store.put("from-environment", b"1")
    assert store.get("from-environment") == b"1"
