"""Where a service keeps bytes: one data folder.

::

    slides/{slide id}/source.EXT     what was uploaded, never changed
    packages/{package id}.zarr/      one package; callers see it once its row is committed
    scratch/{job id}/                plan and sidecars of an unfinished job

Names are ids only.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adaslide.domain.errors import Conflict
from adaslide.ports.jobs import JobRecord, SlideRecord
from adaslide.ports.keys import TEMPORARY_PREFIX
from adaslide.ports.objects import ObjectStore
from adaslide.wiring import folder_store

PLAN_KEY = "plan.json"
_PACKAGE_SUFFIX = ".zarr"


class Workspace:
    """The data folder, which this makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._slides, self._packages, self._scratch = (
            root / name for name in ("slides", "packages", "scratch")
        )
        for folder in (self._slides, self._packages, self._scratch):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Holds the folder for this process; raises `Conflict` when another one does."""
        with (self.root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Conflict("another service uses this data folder") from None
            yield

    def slide_folder(self, slide_id: str) -> Path:
        return self._slides / slide_id

    def slide_path(self, slide: SlideRecord) -> Path:
        """The slide's file, or the folder of a DICOM one."""
        return self.slide_folder(slide.id) / slide.source if slide.staged else Path(slide.source)

    def package_path(self, package_id: str) -> Path:
        return self._packages / f"{package_id}{_PACKAGE_SUFFIX}"

    def package(self, package_id: str) -> ObjectStore:
        """The package's objects; keys are the Zarr keys."""
        return folder_store(self.package_path(package_id))

    def scratch(self, job_id: str) -> ObjectStore:
        return folder_store(self._scratch / job_id)

    def remove_slide(self, slide_id: str) -> None:
        shutil.rmtree(self.slide_folder(slide_id), ignore_errors=True)

    def remove_scratch(self, job_id: str) -> None:
        shutil.rmtree(self._scratch / job_id, ignore_errors=True)

    def remove_job(self, job: JobRecord) -> None:
        """Everything that an unsuccessful job has written."""
        self.remove_scratch(job.id)
        shutil.rmtree(self.package_path(job.package_id), ignore_errors=True)

    def sweep(self, *, slides: set[str], packages: set[str], jobs: set[str]) -> int:
        """Removes what belongs to none of these ids, and unfinished objects of dead processes.

        Returns how many things were removed. Only for the one process that owns the folder.
        """
        keep = {
            self._slides: slides,
            self._packages: {package + _PACKAGE_SUFFIX for package in packages},
            self._scratch: jobs,
        }
        removed = 0
        for folder, names in keep.items():
            for entry in folder.iterdir():
                if entry.name not in names:
                    shutil.rmtree(entry, ignore_errors=True)
                    removed += 1
        for folder in (self._packages, self._scratch):
            for where, _, files in os.walk(folder):
                for name in files:
                    if name.startswith(TEMPORARY_PREFIX):
                        (Path(where) / name).unlink()
                        removed += 1
        return removed
