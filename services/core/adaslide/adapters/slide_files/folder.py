"""Slides in the service's own folder: what the embedded mode keeps."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaslide.ports.jobs import SlideRecord


class FolderSlideFiles:
    """`SlideFiles` on one folder: ``uploads/{id}`` until registered, then ``slides/{id}``."""

    def __init__(self, root: Path) -> None:
        self._uploads, self._slides = root / "uploads", root / "slides"
        for folder in (self._uploads, self._slides):
            folder.mkdir(exist_ok=True, mode=0o700)

    def upload_folder(self, slide_id: str) -> Path:
        return self._uploads / slide_id

    def keep(self, slide_id: str, name: str) -> None:
        self.upload_folder(slide_id).rename(self._slides / slide_id)

    def discard(self, slide_id: str) -> None:
        for folder in (self._uploads, self._slides):
            shutil.rmtree(folder / slide_id, ignore_errors=True)

    @contextmanager
    def local(self, slide: SlideRecord) -> Iterator[Path]:
        yield self._slides / slide.id / slide.source if slide.staged else Path(slide.source)

    def sweep_uploads(self) -> None:
        for upload in self._uploads.iterdir():
            shutil.rmtree(upload, ignore_errors=True)
