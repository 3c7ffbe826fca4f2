"""Uploads that grow where their slides will lie: the embedded mode."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adaslide.adapters.objects.local_file import sync_folder
from adaslide.adapters.slide_files.uploads import private_folder
from adaslide.domain.errors import ChecksumMismatch, NotFound, StoreUnavailable
from adaslide.ports.uploads import UploadRecord

STEP_BYTES = 8 * 2**20
"""Written and synced at once: what a crash can cost of an upload under way."""


class GrowingFiles:
    """An `UploadFiles` below ``root``: ``slides/{id}/{name}``. Processes of one machine may share it.

    The file may end beyond the upload's end, after a crash between the two: what comes next is written over
    that.
    """

    def __init__(self, root: Path) -> None:
        self._slides = private_folder(root / "slides")

    def begin(self, upload_id: str, name: str, length: int) -> dict[str, Any]:
        folder = self._slides / upload_id
        with _errors():
            folder.mkdir()
            (folder / name).open("xb").close()
            sync_folder(folder)
            sync_folder(self._slides)
        return {}

    def step(self, upload: UploadRecord) -> int:
        return min(STEP_BYTES, upload.length - upload.received)

    @contextmanager
    def turn(self, upload: UploadRecord) -> Iterator[None]:
        with _errors():
            lock = self._path(upload).open("rb")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # Closing would not do: a process forked meanwhile has the file open as well.
                fcntl.flock(lock, fcntl.LOCK_UN)

    def append(self, upload: UploadRecord, data: bytes) -> None:
        # Never made here: one that is gone was removed, and must not come back.
        with _errors(), self._path(upload).open("r+b") as file:
            file.seek(upload.received)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def whole(self, upload: UploadRecord) -> Iterator[Path]:
        path = self._path(upload)
        with _errors():
            size = path.stat().st_size
        if size != upload.length:
            raise ChecksumMismatch("an upload has another size than what was received of it")
        yield path

    def remove(self, upload: UploadRecord) -> None:
        shutil.rmtree(self._slides / upload.id, ignore_errors=True)

    def _path(self, upload: UploadRecord) -> Path:
        return self._slides / upload.id / upload.name


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound("no such upload") from None
    except OSError as error:
        raise StoreUnavailable(f"an upload cannot be kept ({error.strerror})") from None
