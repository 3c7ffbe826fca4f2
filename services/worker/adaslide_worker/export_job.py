"""A job that restores: a package out as one file, kept in the store for whoever asked for it."""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adaslide import wiring
from adaslide.adapters.workspace import EXPORT_KEY, Workspace
from adaslide.domain.errors import ChecksumMismatch
from adaslide.domain.job import JobState
from adaslide.package.reader import PackageReader
from adaslide.pipeline.made_with import has_restored
from adaslide.ports.jobs import Database, JobRecord, RestoreRequest
from adaslide.ports.objects import ReadStore
from adaslide.ports.queue import Task
from adaslide.settings import Compression
from adaslide_worker.keeper import Keeper
from adaslide_worker.runner import JobRunner
from adaslide_worker.watch import Interrupted, Watch

BLOCK_BYTES = 8 << 20


class ExportJobs:
    """The body of `Task.EXPORT`. ``folder`` is where this machine writes a file before it is stored."""

    def __init__(
        self, runner: JobRunner, database: Database, workspace: Workspace, rules: Compression, folder: Path
    ) -> None:
        self._runner = runner
        self._database = database
        self._workspace = workspace
        self._rules = rules
        self._folder = folder

    def export(self, job_id: str) -> None:
        """Writes, stores and reads back the file."""
        states = {JobState.QUEUED, JobState.RUNNING, JobState.VERIFYING}
        self._runner.step(Task.EXPORT, job_id, states, self._export)

    def sweep(self) -> None:
        """Removes what a dead process was writing on this machine. Only for the folder's one user."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _export(self, job: JobRecord, token: int, keeper: Keeper) -> None:
        with self._database.write() as unit:
            unit.jobs.transition(job.id, JobState.RUNNING)
            package = unit.packages.get(job.restoration.package)
        started = time.monotonic()
        lease = f"export/{job.id}", token
        watch = Watch(self._database, job.id, lease, keeper, self._runner.stopping, self._rules)
        try:
            with self._local(job.id, token) as path:
                store = WatchedStore(self._workspace.package(package.location), watch.goes_on)
                facts = write_export(store, path, job.restoration, watch.progress)
                size, digest = path.stat().st_size, _digest_of_file(path, watch.goes_on)
                kept = self._workspace.export(job.id, token)
                kept.put_file(EXPORT_KEY, path)
            with self._database.write() as unit:
                unit.jobs.set_progress(job.id, watch.total, watch.total)
                unit.jobs.transition(job.id, JobState.VERIFYING)
            check_stored(kept, size, digest, watch.goes_on)
        except Interrupted:
            return
        level = job.restoration.level
        result = facts | {
            "token": token,
            "bytes": size,
            "sha256": digest,
            "level": level,
            # Below full resolution nothing is restored; see `Restoration`.
            "restored": level == 0 and has_restored(package.totals),
        }
        with self._database.write() as unit:
            unit.jobs.add_work(job.id, time.monotonic() - started, wiring.peak_rss_bytes())
            # In the same transaction: nobody else can have been given the lease before this one commits.
            if not unit.work.beat(*lease, self._rules.lease_s):
                return
            if unit.jobs.transition(job.id, JobState.SUCCEEDED):
                unit.jobs.set_result(job.id, result)

    @contextmanager
    def _local(self, job_id: str, token: int) -> Iterator[Path]:
        """A file in a folder of its own, which is removed with whatever else is left in it."""
        for left in self._folder.glob(f"{job_id}-*"):
            shutil.rmtree(left, ignore_errors=True)
        folder = self._folder / f"{job_id}-{token}"
        folder.mkdir(parents=True)
        try:
            yield folder / EXPORT_KEY
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class WatchedStore:
    """A `ReadStore` that asks before every read whether the work is to go on."""

    def __init__(self, store: ReadStore, goes_on: Callable[[], None]) -> None:
        self._store = store
        self._goes_on = goes_on

    def get(self, key: str) -> bytes:
        self._goes_on()
        return self._store.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._goes_on()
        return self._store.get_range(key, start, length)

    def size(self, key: str) -> int | None:
        return self._store.size(key)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        return self._store.list(prefix)


def write_export(
    package: ReadStore, out: Path, request: RestoreRequest, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """The facts of the file ``out`` that ``request`` asks of ``package``; see `Exporter.export`."""
    exporter = wiring.exporter(PackageReader(package))
    original = request.format == "original"
    return exporter.export(out, downsample=1 << request.level, original=original, progress=progress)


def _digest_of_file(path: Path, goes_on: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            goes_on()
            digest.update(block)
    return digest.hexdigest()


def check_stored(store: ReadStore, size: int, digest: str, goes_on: Callable[[], None]) -> None:
    """Raises `ChecksumMismatch` unless the stored file is the one that was written."""
    if store.size(EXPORT_KEY) != size:
        raise ChecksumMismatch("the stored file has another size than the one that was written")
    found = hashlib.sha256()
    for start in range(0, size, BLOCK_BYTES):
        goes_on()
        found.update(store.get_range(EXPORT_KEY, start, min(BLOCK_BYTES, size - start)))
    if found.hexdigest() != digest:
        raise ChecksumMismatch("the stored file is not the one that was written")
