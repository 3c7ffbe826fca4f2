"""Local files that a store reads from and writes to for its callers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from adaslide.domain.errors import StoreUnavailable
from adaslide.ports.keys import TEMPORARY_PREFIX


@contextmanager
def local_file_errors() -> Iterator[None]:
    """A disk that fails or is full may not be tomorrow: `StoreUnavailable`, without the path."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"a local file failed ({error.strerror})") from None


def sync_folder(folder: Path) -> None:
    """What was made or renamed in ``folder`` is there after a crash. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it becomes ``path`` if the block does not fail, and
    vanishes if it does. Makes the folder."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid4().hex}"
    with local_file_errors():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
