"""Slides that stay in a bucket of somebody else: which may be read, and how."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from adaslide.adapters.objects.s3 import S3Store
from adaslide.domain.errors import InputError, SlideUnsupported
from adaslide.ports.keys import checked_key

SCHEME = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SEVERAL_FILES = {".mrxs", ".vms", ".vmu"}


class SourceBuckets:
    """Objects below ``allowed``, each ``BUCKET`` or ``BUCKET/PREFIX``. They are only read."""

    def __init__(self, client: Any, allowed: tuple[str, ...]) -> None:
        self._client = client
        self._allowed = tuple(entry.strip("/") for entry in allowed)

    def checked(self, uri: str) -> str:
        """``uri`` when it names an object that may be read: ``s3://BUCKET/KEY``, the key as it is written.

        Raises `InputError`, whether or not there is such an object, and `SlideUnsupported` for slides
        spread over several files. Messages do not repeat it.
        """
        self._parts(uri)
        return uri

    def get_file(self, uri: str, path: Path) -> None:
        """The object as a local file. Raises as `checked` and `GetFile` do."""
        bucket, key = self._parts(uri)
        S3Store(self._client, bucket).get_file(key, path)

    def _parts(self, uri: str) -> tuple[str, str]:
        try:
            parts = urlsplit(uri)
        except ValueError:
            raise InputError("not a URI") from None
        bucket, key = parts.netloc, parts.path.removeprefix("/")
        # The second condition: what splits otherwise has a query, a fragment, or signs that urlsplit drops.
        if parts.scheme != "s3" or uri != f"{SCHEME}{bucket}/{key}" or not _BUCKET.fullmatch(bucket):
            raise InputError("a source in a bucket is an s3://BUCKET/KEY URI without a query")
        checked_key(key)
        if not any(f"{bucket}/{key}".startswith(f"{entry}/") for entry in self._allowed):
            raise InputError("the URI is below none of the allowed buckets (ADASLIDE_STORE__READ_BUCKETS)")
        if Path(key).suffix.lower() in _SEVERAL_FILES:
            raise SlideUnsupported("a slide of several files cannot be read from a bucket; upload it")
        return bucket, key
