"""Uploads in parts of an object store, whichever process receives them: the cluster mode."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from adaslide.adapters.objects.s3 import MOST_PARTS
from adaslide.adapters.slide_files.bucket import slide_key
from adaslide.adapters.slide_files.uploads import Uploads
from adaslide.domain.errors import ChecksumMismatch
from adaslide.ports.objects import PartStore
from adaslide.ports.uploads import UploadRecord

PART_BYTES = 8 * 2**20
"""Of a part, or more where there would be too many of them. What a process holds in memory of an upload, and
what its end can cost."""


class PartedFiles:
    """An `UploadFiles` on ``store``: parts of the object ``slides/{id}/{name}``.

    What is too small for a part is kept aside as the object ``uploads/{id}/{end}``: the bytes of its part up
    to ``end``. Parts begin at multiples of their size, so that whoever sends the same bytes sends the same
    parts: of two at the same time it does not matter who was last. ``folder``/uploads is where a complete
    upload is read on this machine.
    """

    def __init__(self, store: PartStore, folder: Path) -> None:
        self._store = store
        self._local = Uploads(folder / "uploads")

    def begin(self, upload_id: str, name: str, length: int) -> dict[str, Any]:
        parts = self._store.begin_parts(slide_key(upload_id, name))
        return {"parts": parts, "part_bytes": max(PART_BYTES, -(-length // MOST_PARTS))}

    def step(self, upload: UploadRecord) -> int:
        part: int = upload.place["part_bytes"]
        return min(part - upload.received % part, upload.length - upload.received)

    @contextmanager
    def turn(self, upload: UploadRecord) -> Iterator[None]:
        # Not needed: parts that were completed cannot be replaced any more.
        yield

    def append(self, upload: UploadRecord, data: bytes) -> None:
        part: int = upload.place["part_bytes"]
        number, aside = divmod(upload.received, part)
        end = upload.received + len(data)
        if aside:
            data = self._aside(upload, aside) + data
        if len(data) == part or end == upload.length:
            key = slide_key(upload.id, upload.name)
            self._store.put_part(key, upload.place["parts"], number + 1, data)
        else:
            self._store.put(f"{_folder(upload)}{end}", data)

    @contextmanager
    def whole(self, upload: UploadRecord) -> Iterator[Path]:
        key = slide_key(upload.id, upload.name)
        self._store.complete_parts(key, upload.place["parts"], upload.length)
        self._clear(upload)
        place = uuid4().hex
        try:
            path = self._local.folder(place) / upload.name
            self._store.get_file(key, path)
            yield path
        finally:
            self._local.discard(place)

    def remove(self, upload: UploadRecord) -> None:
        key = slide_key(upload.id, upload.name)
        self._store.abort_parts(key, upload.place["parts"])
        self._store.delete(key)
        self._clear(upload)

    def _aside(self, upload: UploadRecord, length: int) -> bytes:
        """What is kept aside, after removing what was and is not needed any more."""
        self._clear(upload, below=upload.received)
        data = self._store.get(f"{_folder(upload)}{upload.received}")
        if len(data) != length:
            raise ChecksumMismatch("what was kept aside of an upload is not what was received")
        return data

    def _clear(self, upload: UploadRecord, below: int | None = None) -> None:
        for key, _ in list(self._store.list(_folder(upload))):
            if below is None or int(key.removeprefix(_folder(upload))) < below:
                self._store.delete(key)


def _folder(upload: UploadRecord) -> str:
    return f"uploads/{upload.id}/"
