"""Objects in a bucket of an S3 server: the cluster mode's store."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import uuid4

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from adaslide.adapters.objects.local_file import local_file_errors, written_whole
from adaslide.adapters.objects.s3_client import encryption_of, s3_client
from adaslide.adapters.objects.s3_errors import s3_errors, said
from adaslide.adapters.objects.s3_parts import S3Parts, sha256_of
from adaslide.domain.errors import (
    AdaSlideError,
    ChecksumMismatch,
    InputError,
    NotFound,
    StoreUnavailable,
)
from adaslide.ports.keys import checked_key
from adaslide.settings import Store

PART_BYTES = 16 * 2**20
"""Larger objects are sent in parts of this size, or of more where there would be too many."""
MOST_PARTS = 10_000
"""S3's limit."""
_PARTS_AT_ONCE = 4
BODY_ATTEMPTS = 3
"""Of a file's part whose bytes stop coming."""
_LONGEST_KEY = 1024
"""Bytes; S3's limit, prefix included."""
_WRITER = "adaslide-writer"

_Read = Callable[[int, int], bytes]
"""``length`` bytes from ``start`` of what is to be stored."""


class S3Store:
    """A `PartStore` on ``bucket``, its keys below ``prefix``. Safe for use by several threads.

    Every write carries its SHA-256, which the server checks, and ``encryption``
    (`s3_client.encryption_of`). Objects below the prefix whose names are no keys are not part of the store.
    """

    def __init__(
        self, client: Any, bucket: str, prefix: str = "", *, encryption: Mapping[str, str] | None = None
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{checked_key(prefix)}/" if prefix else ""
        self._encryption = dict(encryption or {})

    def get(self, key: str) -> bytes:
        with s3_errors():
            data: bytes = self._client.get_object(**self._at(key))["Body"].read()
            return data

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise InputError("a range of bytes is not negative")
        at = self._at(key)
        if length == 0:  # HTTP knows no empty range
            if self.size(key) is None:
                raise NotFound("no such object")
            return b""
        with s3_errors():
            answer = self._client.get_object(**at, Range=f"bytes={start}-{start + length - 1}")
            with closing(answer["Body"]) as body:
                if not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
                    raise StoreUnavailable("the object store did not answer with the range it was asked for")
                data: bytes = body.read()
        if len(data) != length:
            raise ChecksumMismatch("an object ends before the bytes it should hold")
        return data

    def get_file(self, key: str, path: Path) -> None:
        at = self._at(key)
        transfer = TransferConfig(
            multipart_threshold=PART_BYTES,
            multipart_chunksize=PART_BYTES,
            max_concurrency=_PARTS_AT_ONCE,
            num_download_attempts=BODY_ATTEMPTS,
        )
        with written_whole(path) as temporary, s3_errors():
            self._client.download_file(**at, Filename=str(temporary), Config=transfer)

    def size(self, key: str) -> int | None:
        try:
            with s3_errors():
                return int(self._client.head_object(**self._at(key))["ContentLength"])
        except NotFound:
            return None

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with s3_errors():
            found = [
                (entry["Key"].removeprefix(self._prefix), int(entry["Size"]))
                for page in pages
                for entry in page.get("Contents", ())
            ]
        # S3 lists by key, but a server that keeps them in folders lists folder after folder ("a/b", "a-b").
        yield from sorted((key, size) for key, size in found if _is_key(key))

    def put(self, key: str, data: bytes) -> None:
        self._put(self._at(key), len(data), lambda start, length: bytes(data[start : start + length]))

    def put_file(self, key: str, path: Path) -> None:
        at = self._at(key)

        def read(start: int, length: int) -> bytes:
            with local_file_errors(), path.open("rb") as file:
                file.seek(start)
                return file.read(length)

        with local_file_errors():
            size = path.stat().st_size
        self._put(at, size, read)

    def create(self, key: str, data: bytes) -> bool:
        at, writer = self._at(key), uuid4().hex
        with s3_errors():
            try:
                self._client.put_object(
                    **at,
                    **self._encryption,
                    Body=data,
                    ChecksumSHA256=sha256_of(data),
                    IfNoneMatch="*",
                    Metadata={_WRITER: writer},
                )
            except ClientError as error:
                if said(error)[1] != HTTPStatus.PRECONDITION_FAILED:
                    raise
                # What is there may be our own: an attempt that was carried out but whose answer was lost.
                if not error.response["ResponseMetadata"].get("RetryAttempts"):
                    return False
                found: dict[str, str] = self._client.head_object(**at)["Metadata"]
                return found.get(_WRITER) == writer
        return True

    def delete(self, key: str) -> None:
        with s3_errors():
            self._client.delete_object(**self._at(key))

    def begin_parts(self, key: str) -> str:
        with s3_errors():
            return S3Parts.begin(self._client, self._at(key), self._encryption, many=True).id

    def put_part(self, key: str, parts_id: str, number: int, data: bytes) -> None:
        with s3_errors(), _gone_is_not_found():
            self._parts(key, parts_id).send(number, data)

    def complete_parts(self, key: str, parts_id: str, size: int) -> None:
        if self.size(key) == size:
            return
        parts = self._parts(key, parts_id)
        try:
            with s3_errors(), _gone_is_not_found():
                sent = parts.sent()
                numbers = [part["PartNumber"] for part in sent]
                if numbers != list(range(1, len(sent) + 1)) or sum(part["Size"] for part in sent) != size:
                    raise ChecksumMismatch("the parts of an object are not those that were sent")
                parts.complete(sent)
        except AdaSlideError:
            # Completed by another, or by an attempt whose answer was lost.
            if self.size(key) != size:
                raise

    def abort_parts(self, key: str, parts_id: str) -> None:
        with suppress(NotFound), s3_errors(), _gone_is_not_found():
            self._parts(key, parts_id).abort()

    def _parts(self, key: str, parts_id: str) -> S3Parts:
        return S3Parts(self._client, self._at(key), parts_id, many=True)

    def _at(self, key: str) -> dict[str, str]:
        full = self._prefix + checked_key(key)
        try:
            fits = len(full.encode()) <= _LONGEST_KEY
        except UnicodeEncodeError:
            fits = False
        if not fits:
            raise InputError("not the key of an object")
        return {"Bucket": self._bucket, "Key": full}

    def _put(self, at: dict[str, str], size: int, read: _Read) -> None:
        if size > PART_BYTES:
            self._put_in_parts(at, size, read)
            return
        data = _whole(read, 0, size)
        with s3_errors():
            self._client.put_object(**at, **self._encryption, Body=data, ChecksumSHA256=sha256_of(data))

    def _put_in_parts(self, at: dict[str, str], size: int, read: _Read) -> None:
        part_bytes = max(PART_BYTES, -(-size // MOST_PARTS))

        def send(start: int) -> dict[str, Any]:
            data = _whole(read, start, min(part_bytes, size - start))
            return parts.send(start // part_bytes + 1, data)

        with s3_errors():
            parts = S3Parts.begin(self._client, at, self._encryption, many=False)
            try:
                with ThreadPoolExecutor(_PARTS_AT_ONCE) as pool:
                    # A part that fails cancels those that have not begun.
                    sent = list(pool.map(send, range(0, size, part_bytes)))
                parts.complete(sent)
            except BaseException:
                # Where that fails too, the bucket's lifecycle rule does it (docs/storage.md).
                with suppress(BotoCoreError, ClientError):
                    parts.abort()
                raise


def s3_store(settings: Store) -> S3Store:
    """The store that ``settings.url`` names, with a client of its own."""
    if settings.url is None:
        raise InputError("the settings name no object store (ADASLIDE_STORE__URL)")
    bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
    return S3Store(s3_client(settings), bucket, prefix.strip("/"), encryption=encryption_of(settings))


def _whole(read: _Read, start: int, length: int) -> bytes:
    data = read(start, length)
    if len(data) != length:
        raise StoreUnavailable("a file changed while it was stored")
    return data


@contextmanager
def _gone_is_not_found() -> Iterator[None]:
    """To whoever goes on with parts, parts that are not there are not a passing error."""
    try:
        yield
    except ClientError as error:
        if said(error)[0] == "NoSuchUpload":
            raise NotFound("no such parts") from None
        raise


def _is_key(key: str) -> bool:
    try:
        checked_key(key)
    except InputError:
        return False
    return True
