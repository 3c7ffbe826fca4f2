"""Slides in a folder of this machine: the embedded mode."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaslide.adapters.slide_files.uploads import Uploads, private_folder
from adaslide.domain.errors import NotFound, StoreUnavailable
from adaslide.ports.jobs import SlideRecord


class FolderSlideFiles:
    """A `SlideFiles` below ``root``: ``uploads/{slide id}/`` becomes ``slides/{slide id}/``."""

    def __init__(self, root: Path) -> None:
        self._uploads = Uploads(root / "uploads")
        self._slides = private_folder(root / "slides")

    def upload_folder(self, slide_id: str) -> Path:
        return self._uploads.folder(slide_id)

    def keep(self, slide_id: str, name: str) -> None:
        if not (self.upload_folder(slide_id) / name).is_file():
            raise NotFound("there is no such upload")
        try:
            self.upload_folder(slide_id).rename(self._slides / slide_id)
        except OSError as error:
            raise StoreUnavailable(f"an upload cannot be kept ({error.strerror})") from None

    def discard(self, slide_id: str) -> None:
        self._uploads.discard(slide_id)

    def remove(self, slide_id: str, name: str) -> None:
        shutil.rmtree(self._slides / slide_id, ignore_errors=True)

    @contextmanager
    def local(self, slide: SlideRecord) -> Iterator[Path]:
        yield existing(self._slides / slide.id / slide.source if slide.staged else Path(slide.source))

    def sweep_uploads(self) -> None:
        self._uploads.sweep()


def existing(path: Path) -> Path:
    """``path`` if something is there. Raises `NotFound`."""
    if not path.exists():
        raise NotFound("the slide's file is not there")
    return path
