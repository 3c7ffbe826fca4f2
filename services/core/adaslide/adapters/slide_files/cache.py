"""Files fetched once per machine, however many processes ask for them."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adaslide.adapters.objects.local_file import local_file_errors, written_whole
from adaslide.adapters.slide_files.uploads import private_folder
from adaslide.domain.errors import ChecksumMismatch


class FileCache:
    """Files of known content below ``folder``, ``{id}/source{suffix}``; processes of one machine share it.

    Each file has a lock, which outlives it: its users hold it together, its fetcher and its remover
    alone. The system lets go of the locks of a process that dies. The least recently used files give way
    once all are over ``capacity`` bytes; files in use never do, so that more is taken where work needs it.
    """

    def __init__(self, folder: Path, capacity: int) -> None:
        self._files = private_folder(folder / "files")
        self._locks = private_folder(folder / "locks")
        self._capacity = capacity

    @contextmanager
    def file(
        self, file_id: str, suffix: str, sha256: str, size: int, fetch: Callable[[Path], None]
    ) -> Iterator[Path]:
        """The file, for as long as the context lasts; ``fetch(path)`` writes it where it is not there.

        Raises what ``fetch`` raises, `StoreUnavailable` when the disk fails, and `ChecksumMismatch` when
        the bytes that were fetched are not those of ``sha256``.
        """
        path = self._files / file_id / f"source{suffix}"
        with self._lock(file_id) as lock:
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)
                if path.exists():
                    break
                # Never held together with the shared lock: two fetchers would wait for each other.
                fcntl.flock(lock, fcntl.LOCK_UN)
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not path.exists():
                    self._fetch(path, sha256, size, fetch)
            with local_file_errors():
                os.utime(path)
            yield path
        self._make_room(0)

    def _fetch(self, path: Path, sha256: str, size: int, fetch: Callable[[Path], None]) -> None:
        self._make_room(size)
        # What a fetcher that died has left.
        shutil.rmtree(path.parent, ignore_errors=True)
        try:
            with written_whole(path) as temporary:
                fetch(temporary)
                _check(temporary, sha256)
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
            raise

    @contextmanager
    def _lock(self, file_id: str) -> Iterator[BinaryIO]:
        """The file's lock, not yet taken; let go of at the end."""
        with local_file_errors():
            lock = (self._locks / file_id).open("ab")
        with lock:
            try:
                yield lock
            finally:
                # Closing would not do: a process forked meanwhile has the lock's file open as well.
                fcntl.flock(lock, fcntl.LOCK_UN)

    def _make_room(self, size: int) -> None:
        """Removes files, oldest use first, until ``size`` more bytes fit or all that is left is in use."""
        with local_file_errors():
            found = sorted(filter(None, map(_used, self._files.iterdir())))
        over = sum(entry[1] for entry in found) + size - self._capacity
        for _, taken, folder in found:
            if over <= 0:
                return
            if self._remove(folder):
                over -= taken

    def _remove(self, folder: Path) -> bool:
        """False when the file is in use."""
        with self._lock(folder.name) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            shutil.rmtree(folder, ignore_errors=True)
            return True


def _used(folder: Path) -> tuple[float, int, Path] | None:
    """(last use, bytes, folder) of a file in the cache; None while it is fetched or removed."""
    try:
        (stat,) = [entry.stat() for entry in folder.iterdir() if entry.name.startswith("source")]
    except (FileNotFoundError, ValueError):
        return None
    return stat.st_mtime, stat.st_size, folder


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ChecksumMismatch("the slide's file is not the one that was registered")
