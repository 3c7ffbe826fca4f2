"""The folder of uploads under way."""

import shutil
from pathlib import Path

from adaslide.domain.errors import StoreUnavailable


def private_folder(path: Path) -> Path:
    """``path``, made for this user alone. Raises `StoreUnavailable`."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreUnavailable(f"a folder cannot be made ({error.strerror})") from None
    return path


class Uploads:
    """One folder for each upload, named by the slide's id."""

    def __init__(self, root: Path) -> None:
        self._root = private_folder(root)

    def folder(self, slide_id: str) -> Path:
        """Where the upload goes; not made yet."""
        return self._root / slide_id

    def discard(self, slide_id: str) -> None:
        """Removes the upload; one that is not there is no error."""
        shutil.rmtree(self.folder(slide_id), ignore_errors=True)

    def sweep(self) -> None:
        """Removes every upload."""
        for upload in self._root.iterdir():
            shutil.rmtree(upload, ignore_errors=True)
