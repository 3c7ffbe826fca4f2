"""Uploads over many requests: begun, received piece by piece, ended. `tus` is how they are asked for."""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from anyio import fail_after
from starlette.requests import ClientDisconnect

from adaslide.adapters.db.ids import new_id
from adaslide.domain.errors import AdaSlideError, Conflict, NotFound, SlideTooLarge, Unavailable
from adaslide.ports.jobs import Database
from adaslide.ports.uploads import UploadFiles, UploadRecord
from adaslide.settings import Settings
from adaslide_api.gate import Gate
from adaslide_api.trail import Trail

WRITING = 4
"""Pieces that are written at the same time; the others wait for their turn."""
_MOVED = "the upload goes on elsewhere: ask with HEAD how far it has come"


class ResumableUploads:
    """Uploads of all tenants. Any process may receive any piece; the database knows how far each has come.

    Of two requests that send the same bytes at the same time one goes on and the other gets `Conflict`.
    """

    def __init__(self, settings: Settings, database: Database, files: UploadFiles) -> None:
        self._rules = settings.uploads
        self._most = settings.limits.upload_bytes
        self._database = database
        self._files = files
        self._write = Gate(WRITING, self._rules.at_once, "adaslide-upload")
        self._receiving = 0

    def close(self) -> None:
        """Lets its threads go once they are done."""
        self._write.close()

    def create(self, tenant: str, name: str, length: int, trail: Trail) -> UploadRecord:
        """A new upload of ``length`` bytes, its file called ``name`` (`upload.source_name`).

        Raises `SlideTooLarge`.
        """
        if length > self._most:
            raise SlideTooLarge(f"an upload has at most {self._most} bytes")
        upload_id, now = new_id(), datetime.now(UTC)
        place = self._files.begin(upload_id, name, length)
        upload = UploadRecord(upload_id, tenant, name, length, place, now, self._expiry(now))
        try:
            with trail.change(self._database) as unit:
                trail.note(upload=upload.id)
                unit.uploads.add(upload)
        except AdaSlideError:
            with suppress(AdaSlideError):
                self._files.remove(upload)
            raise
        return upload

    def find(self, upload_id: str, tenant: str) -> UploadRecord:
        """Raises `NotFound`."""
        with self._database.read() as unit:
            return unit.uploads.find(upload_id, tenant)

    def remove(self, upload_id: str, tenant: str, trail: Trail) -> None:
        """Ends the upload; a worker removes its bytes. Raises `NotFound`, and `Conflict` for one that has
        become a slide."""
        with trail.change(self._database) as unit:
            unit.uploads.find(upload_id, tenant)
            if not unit.uploads.end(upload_id):
                raise Conflict("the upload has become a slide")

    async def receive(self, upload: UploadRecord, stream: AsyncIterator[bytes]) -> UploadRecord:
        """Keeps what ``stream`` brings from ``upload.received`` on, also when it breaks off; the upload as it
        stands then.

        Raises `SlideTooLarge` beyond its length, `Conflict` when somebody else sends as well, `NotFound` when
        it ended meanwhile, and `Unavailable` when too many are received already or nothing came for long.
        """
        if self._receiving >= self._rules.at_once:
            raise Unavailable("too many uploads are received")
        self._receiving += 1
        try:
            return await self._receive(upload, stream)
        finally:
            self._receiving -= 1

    async def _receive(self, upload: UploadRecord, stream: AsyncIterator[bytes]) -> UploadRecord:
        waiting, stalled = bytearray(), False
        try:
            async for chunk in self._arriving(stream):
                if upload.received + len(waiting) + len(chunk) > upload.length:
                    raise SlideTooLarge("more bytes than the upload was said to have")
                waiting += chunk
                while waiting and len(waiting) >= (step := self._files.step(upload)):
                    upload = await self._write.run(self._append, upload, bytes(waiting[:step]))
                    del waiting[:step]
        except ClientDisconnect:
            pass
        except TimeoutError:
            stalled = True
        if waiting:
            upload = await self._write.run(self._append, upload, bytes(waiting))
        if stalled:
            raise Unavailable("nothing has come for a while: go on with another request")
        return upload

    async def _arriving(self, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises `TimeoutError` when the next piece takes too long."""
        while True:
            with fail_after(self._rules.stalled_s):
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield chunk

    def _append(self, upload: UploadRecord, data: bytes) -> UploadRecord:
        with self._files.turn(upload):
            self._check_unmoved(upload)
            try:
                self._files.append(upload, data)
            except NotFound:
                # Of one that goes on elsewhere, what was kept aside may have been cleared away.
                self._check_unmoved(upload)
                raise
            end = upload.received + len(data)
            now = replace(upload, received=end, expires_at=self._expiry(datetime.now(UTC)))
            with self._database.write() as unit:
                if not unit.uploads.advance(upload.id, upload.received, end, now.expires_at):
                    raise Conflict(_MOVED)
        return now

    def _check_unmoved(self, upload: UploadRecord) -> None:
        now = self.find(upload.id, upload.tenant)
        if now.received != upload.received or now.slide_id is not None:
            raise Conflict(_MOVED)

    def _expiry(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._rules.expire_s)
