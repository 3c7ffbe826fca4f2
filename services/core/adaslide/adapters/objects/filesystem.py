"""Objects as files under one folder: the embedded mode's store, and what `adaslide compress` writes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from adaslide.domain.errors import ChecksumMismatch, Conflict, InputError, NotFound, StoreUnavailable
from adaslide.ports.keys import TEMPORARY_PREFIX, checked_key

_PUT_ATTEMPTS = 5


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
        path = self._path(key)
        temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid4().hex}"
        with _typed(writing=True):
            try:
                self._write(temporary, data)
                temporary.replace(path)
                _sync_folder(path.parent)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise

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

    def _write(self, temporary: Path, data: bytes) -> None:
        for attempt in range(_PUT_ATTEMPTS):
            try:
                temporary.parent.mkdir(parents=True, exist_ok=True)
                file = temporary.open("xb")
            except FileNotFoundError:
                # A delete beside us removed the folder, empty as it was, between the two lines.
                if attempt == _PUT_ATTEMPTS - 1:
                    raise
            else:
                with file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                return


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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
