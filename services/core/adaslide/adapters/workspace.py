"""Where a service keeps bytes: one data folder.

::

    uploads/{slide id}/source.EXT    what is being uploaded
    slides/{slide id}/source.EXT     what was uploaded, never changed
    packages/{package id}.zarr/      one package; callers see it once its row is committed
    scratch/{job id}/                plan and sidecars of an unfinished job

Names are ids only.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.domain.errors import Conflict, StoreUnavailable
from adaslide.ports.jobs import JobRecord, SlideRecord
from adaslide.ports.keys import TEMPORARY_PREFIX
from adaslide.ports.objects import ObjectStore

PLAN_KEY = "plan.json"
_PACKAGE_SUFFIX = ".zarr"


class Workspace:
    """The data folder, which this makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = ("uploads", "slides", "packages", "scratch")
        self._uploads, self._slides, self._packages, self._scratch = (root / name for name in names)
        try:
            root.mkdir(parents=True, exist_ok=True)
            root.chmod(0o700)  # the database holds callers' own names for slides
            for folder in (self._uploads, self._slides, self._packages, self._scratch):
                folder.mkdir(exist_ok=True, mode=0o700)
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

    def upload_folder(self, slide_id: str) -> Path:
        """Where an upload is written until its slide is registered."""
        return self._uploads / slide_id

    def keep_upload(self, slide_id: str) -> None:
        """The upload has become a slide."""
        self.upload_folder(slide_id).rename(self._slides / slide_id)

    def remove_upload(self, slide_id: str) -> None:
        shutil.rmtree(self.upload_folder(slide_id), ignore_errors=True)

    def slide_path(self, slide: SlideRecord) -> Path:
        """The slide's file, or the folder of a DICOM one."""
        return self._slides / slide.id / slide.source if slide.staged else Path(slide.source)

    def package_path(self, package_id: str) -> Path:
        return self._packages / f"{package_id}{_PACKAGE_SUFFIX}"

    def package(self, package_id: str) -> ObjectStore:
        """The package's objects; keys are the Zarr keys."""
        return FilesystemStore(self.package_path(package_id))

    def scratch(self, job_id: str) -> ObjectStore:
        return FilesystemStore(self._scratch / job_id)

    def remove_scratch(self, job_id: str) -> None:
        shutil.rmtree(self._scratch / job_id, ignore_errors=True)

    def remove_job(self, job: JobRecord) -> None:
        """Everything that an unsuccessful job has written."""
        self.remove_scratch(job.id)
        shutil.rmtree(self.package_path(job.package_id), ignore_errors=True)

    def sweep(self, unfinished: list[JobRecord], fruitless: list[JobRecord]) -> None:
        """Removes uploads cut short, what ``fruitless`` jobs wrote, half-written objects of ``unfinished``.

        Anything that no job speaks for is left alone: with another database in this folder, it would be
        somebody's. Only for the one process that owns the folder, before it works.
        """
        for upload in self._uploads.iterdir():
            shutil.rmtree(upload, ignore_errors=True)
        for job in fruitless:
            self.remove_job(job)
        for job in unfinished:
            for folder in (self.package_path(job.package_id), self._scratch / job.id):
                for half_written in folder.rglob(f"{TEMPORARY_PREFIX}*"):
                    half_written.unlink()
        known = {job.id for job in unfinished}
        for scratch in self._scratch.iterdir():
            if scratch.name not in known:
                shutil.rmtree(scratch, ignore_errors=True)
