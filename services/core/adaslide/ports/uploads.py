"""Uploads that can be taken up again: how far each has come, and where its bytes are until it is a slide."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """An upload. ``id`` is also that of the slide it may become; ``name`` is the file's name among the
    slide's own, which tells nothing but a suffix."""

    id: str
    tenant: str
    name: str
    length: int
    """Bytes in all."""
    place: Mapping[str, Any]
    """What `UploadFiles.begin` said: how the bytes are found again."""
    created_at: datetime
    expires_at: datetime
    received: int = 0
    """Bytes that are kept for good: where the next ones go."""
    slide_id: str | None = None
    """The slide it has become."""

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return self.received == self.length


class UploadRepository(Protocol):
    """Uploads by id. One that has expired or ended does not exist any more."""

    def add(self, upload: UploadRecord) -> None: ...

    def find(self, upload_id: str, tenant: str) -> UploadRecord:
        """Raises `NotFound`, also for another tenant's."""
        ...

    def advance(self, upload_id: str, received: int, now_received: int, expires_at: datetime) -> bool:
        """Compare and set: the upload has ``now_received`` bytes and lives until ``expires_at``. False when
        it has not ``received`` bytes (any more), has become a slide or has ended."""
        ...

    def become(self, upload_id: str, slide_id: str) -> bool:
        """The upload has become that slide. False when it has become one already, or has ended."""
        ...

    def end(self, upload_id: str) -> bool:
        """The upload is given up. False when it has become a slide, or has ended."""
        ...

    def expire(self) -> None:
        """Ends every upload whose time is over. What has become a slide of its own is only forgotten: its
        bytes are the slide's."""
        ...

    def ended(self, limit: int = 100) -> list[UploadRecord]:
        """Uploads that have ended and may have left bytes."""
        ...

    def forget(self, upload_id: str) -> None:
        """Nothing of the upload is left."""
        ...


class UploadFiles(Protocol):
    """The bytes of uploads. What was appended is there after a crash; where it ends says the database alone,
    so that every process may go on with every upload.

    Bytes are kept where `SlideFiles` looks for those of the slide ``upload.id``: a complete upload becomes a
    slide by its row.
    """

    def begin(self, upload_id: str, name: str, length: int) -> dict[str, Any]:
        """Makes a place for an upload of ``length`` bytes; `UploadRecord.place`."""
        ...

    def step(self, upload: UploadRecord) -> int:
        """How many bytes `append` should be given at once. More never; fewer where no more have come."""
        ...

    def turn(self, upload: UploadRecord) -> AbstractContextManager[None]:
        """For one `append`: nobody else on this machine appends meanwhile, so that whoever looks into the
        database within it knows that no byte below the upload's end will be written any more."""
        ...

    def append(self, upload: UploadRecord, data: bytes) -> None:
        """Keeps ``data``, which begins at ``upload.received``. The same bytes twice do no harm.

        Raises `NotFound` when the upload's place is gone, `StoreUnavailable`.
        """
        ...

    def whole(self, upload: UploadRecord) -> AbstractContextManager[Path]:
        """The complete upload as a local file for as long as the context lasts; from then on it is what
        `SlideFiles.local` gives for its slide. Raises `NotFound`, `StoreUnavailable`."""
        ...

    def remove(self, upload: UploadRecord) -> None:
        """Removes the bytes of an upload that becomes no slide; none is no error."""
        ...
