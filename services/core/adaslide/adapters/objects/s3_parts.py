"""One object of an S3 server that is sent in parts (S3's multipart upload)."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Self


class S3Parts:
    """The parts under way of the object ``at`` (bucket and key). Raises what boto3 raises.

    Each part carries a digest that the server checks: its SHA-256 where the same caller completes what it
    began. Whoever completes must tell all of those, and not every server lists them: of parts that
    ``many`` callers send it is the MD5, which need not be told.
    """

    def __init__(self, client: Any, at: Mapping[str, str], parts_id: str, *, many: bool) -> None:
        self.id = parts_id
        self._client = client
        self._upload = {**at, "UploadId": parts_id}
        self._many = many

    @classmethod
    def begin(cls, client: Any, at: Mapping[str, str], encryption: Mapping[str, str], *, many: bool) -> Self:
        """None is there yet. ``encryption`` as in `s3_client.encryption_of`."""
        digest = {} if many else {"ChecksumAlgorithm": "SHA256"}
        begun = client.create_multipart_upload(**at, **encryption, **digest)
        return cls(client, at, begun["UploadId"], many=many)

    def send(self, number: int, data: bytes) -> dict[str, Any]:
        """Sends a part; what `complete` needs of it."""
        digest = {"ContentMD5": _md5(data)} if self._many else {"ChecksumSHA256": sha256_of(data)}
        sent = self._client.upload_part(**self._upload, **digest, PartNumber=number, Body=data)
        told = {"PartNumber": number, "ETag": sent["ETag"]}
        return told if self._many else told | digest

    def sent(self) -> list[dict[str, Any]]:
        """The parts that are there, by their numbers, with their ``Size``."""
        pages = self._client.get_paginator("list_parts").paginate(**self._upload)
        parts = [part for page in pages for part in page.get("Parts", ())]
        # A part that was sent again replaces the first; SeaweedFS lists both.
        newest = {part["PartNumber"]: part for part in sorted(parts, key=itemgetter("LastModified"))}
        return [newest[number] for number in sorted(newest)]

    def complete(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Makes the object of ``parts``, in their order."""
        names = ("PartNumber", "ETag") if self._many else ("PartNumber", "ETag", "ChecksumSHA256")
        told = [{name: part[name] for name in names} for part in parts]
        self._client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": told})

    def abort(self) -> None:
        """Frees the parts."""
        self._client.abort_multipart_upload(**self._upload)


def sha256_of(data: bytes) -> str:
    """As S3 takes it: base64."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
