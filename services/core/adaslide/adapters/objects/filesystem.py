"""Objects as files under one folder: the embedded mode's store, and what `adaslide compress` writes."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO
from uuid import uuid4

from adaslide.adapters.objects.local_file import local_file_errors, sync_folder, written_whole
from adaslide.domain.errors import ChecksumMismatch, Conflict, InputError, NotFound, StoreUnavailable
from adaslide.ports.keys import TEMPORARY_PREFIX, checked_key

_PUT_ATTEMPTS = 5
_COPY_BYTES = 1 << 20


class FilesystemStore:
    """An `ObjectStore` on a folder, which the first `put` makes.

    An object is written to a temporary file, synced and renamed: readers see it whole or not at
    all, and after a crash as before. Symbolic links below the folder are not part of the store:
    none is followed, none is listed.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))

    def get(self, key: str) -> bytes:
        with _typed():
            return self._path(key).read_bytes()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise InputError("a range of bytes is not negative")
        with _typed(), self._path(key).open("rb", buffering=0) as file:
            file.seek(start)
            data = b""
            while len(data) < length and (more := file.read(length - len(data))):
                data += more
        if len(data) != length:
            raise ChecksumMismatch("an object ends before the bytes it should hold")
        return data

    def size(self, key: str) -> int | None:
        path = self._path(key)
        with _typed(), suppress(FileNotFoundError, NotADirectoryError):
            found = path.stat()
            return found.st_size if S_ISREG(found.st_mode) else None
        return None

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        folder, _, _ = prefix.rpartition("/")
        if folder:
            checked_key(folder)
        start = self._root / folder
        if os.path.realpath(start) != str(start):
            return
        for key, size in _walk(start, f"{folder}/" if folder else ""):
            if key.startswith(prefix):
                yield key, size

    def put(self, key: str, data: bytes) -> None:
        self._put(self._path(key), lambda file: _write(file, data))

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with _typed(writing=True), self._temporary(path, lambda file: _write(file, data)) as temporary:
            try:
                # Unlike a rename, a link fails where something is.
                os.link(temporary, path)
            except FileExistsError:
                if path.is_dir():
                    raise
                return False
            sync_folder(path.parent)
            return True

    def put_file(self, key: str, path: Path) -> None:
        with local_file_errors():
            source = path.open("rb")
        with source:
            self._put(self._path(key), lambda file: shutil.copyfileobj(source, file, _COPY_BYTES))

    def get_file(self, key: str, path: Path) -> None:
        with _typed():
            source = self._path(key).open("rb")
        with source, written_whole(path) as temporary, temporary.open("xb") as file:
            shutil.copyfileobj(source, file, _COPY_BYTES)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _typed(), suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            path.unlink()
            # An object store knows no empty folders: neither does this one.
            for folder in path.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break

    def _path(self, key: str) -> Path:
        path = self._root / checked_key(key)
        # A link could lead out of the folder; realpath resolves each part of the path.
        if os.path.realpath(path) != str(path):
            raise InputError("not the key of an object")
        return path

    def _put(self, path: Path, write: Callable[[BinaryIO], None]) -> None:
        with _typed(writing=True), self._temporary(path, write) as temporary:
            temporary.replace(path)
            sync_folder(path.parent)

    @contextmanager
    def _temporary(self, path: Path, write: Callable[[BinaryIO], None]) -> Iterator[Path]:
        """A synced file beside ``path``, gone afterwards."""
        temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid4().hex}"
        try:
            with _opened(temporary) as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            with suppress(OSError):
                temporary.unlink()


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _opened(temporary: Path) -> BinaryIO:
    """The new file, open for writing, in its folder, made if need be."""
    for _ in range(_PUT_ATTEMPTS - 1):
        temporary.parent.mkdir(parents=True, exist_ok=True)
        # A delete beside us may remove the folder, empty as it is, between the two lines.
        with suppress(FileNotFoundError):
            return temporary.open("xb")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    return temporary.open("xb")


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    """(key, size) of the files below ``folder``, in the order of their keys."""
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(TEMPORARY_PREFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise StoreUnavailable("the folder of objects cannot be listed") from error
    folders = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    # "a/b" comes after "a.b": a folder sorts by its name and the separator behind it.
    for entry in sorted(entries, key=lambda e: e.name + "/" * (e.name in folders)):
        if entry.name in folders:
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            with suppress(FileNotFoundError):
                yield prefix + entry.name, entry.stat(follow_symlinks=False).st_size


@contextmanager
def _typed(*, writing: bool = False) -> Iterator[None]:
    """Turns what the operating system says into errors of the store; messages never name a path."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        if writing:
            raise Conflict("an object stands where a folder is needed, or the reverse") from None
        raise NotFound("no such object") from None
    except FileNotFoundError:
        raise NotFound("no such object") from None
    except OSError as error:
        raise StoreUnavailable(f"the folder of objects failed ({error.strerror})") from None
