"""The folder of one service: its database, and in the embedded mode everything else it keeps."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adaslide.domain.errors import Conflict, StoreUnavailable
from adaslide.ports.keys import TEMPORARY_PREFIX


class DataFolder:
    """The data folder, which this makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(0o700)  # the database holds callers' own names for slides
        except OSError as error:
            raise StoreUnavailable(f"the data folder cannot be used: {error.strerror}") from None

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Holds the folder for this process; raises `Conflict` when another one does."""
        with (self.root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Conflict("another service uses this data folder") from None
            yield

    @contextmanager
    def shared(self, part: str, sweep: Callable[[], None]) -> Iterator[None]:
        """Says until left that this process writes below ``part`` of the folder.

        Where no other does, ``sweep`` is called first: what lies there was begun by processes that died.
        """
        with (self.root / f"{part}.lock").open("w") as file:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                sweep()
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def sweep_half_written(self) -> None:
        """Removes objects that a process died while writing. Only for the folder's owner, before it works."""
        for half_written in self.root.rglob(f"{TEMPORARY_PREFIX}*"):
            half_written.unlink()
