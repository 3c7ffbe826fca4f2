"""What a service's API and its workers share, chosen by the settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adaslide.adapters.data_folder import DataFolder
from adaslide.adapters.db.migrate import check_current, upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.observed import ObservedPartStore, ObservedStore
from adaslide.adapters.objects.s3 import s3_store
from adaslide.adapters.objects.s3_client import s3_client
from adaslide.adapters.queue.celery_queue import CeleryQueue, create_celery
from adaslide.adapters.slide_files.bucket import BucketSlideFiles
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.slide_files.growing import GrowingFiles
from adaslide.adapters.slide_files.parts import PartedFiles
from adaslide.adapters.slide_files.sources import SourceBuckets
from adaslide.adapters.slide_files.uploads import Uploads
from adaslide.adapters.workspace import Workspace
from adaslide.observability.metrics import Metrics
from adaslide.ports.gauges import JobGauges, WorkGauges
from adaslide.ports.jobs import Database
from adaslide.ports.queue import TaskQueue
from adaslide.ports.work import CANARY
from adaslide.settings import Settings


@dataclass(frozen=True, slots=True)
class Backend:
    """Database, queue and workspace; ``celery`` is the queue's application, for the worker."""

    settings: Settings
    database: Database
    queue: TaskQueue
    celery: Any
    workspace: Workspace
    metrics: Metrics

    @property
    def gauges(self) -> JobGauges:
        """What the database knows of the work that waits."""
        return DatabaseGauges(self.database)

    def canary_age(self) -> float | None:
        """Seconds since a worker last consumed a message; None where none ever did."""
        with self.database.read() as unit:
            return unit.work.pulse_age(CANARY)


@dataclass(frozen=True, slots=True)
class DatabaseGauges:
    """`JobGauges`."""

    database: Database

    def read(self) -> WorkGauges:
        with self.database.read() as unit:
            return unit.work.gauges()


def build_backend(settings: Settings) -> Backend:
    """Opens everything the settings name; makes and migrates the database where they say so.

    Raises `StoreUnavailable` when something does not answer or has not been migrated.
    """
    engine = create_engine(settings.database_url, settings.database.pool)
    folder = DataFolder(settings.data_dir)
    (upgrade if settings.database.migrate else check_current)(engine)
    celery = create_celery(settings)
    queue = CeleryQueue(celery)
    metrics = Metrics()
    workspace = build_workspace(settings, folder, metrics)
    return Backend(settings, SqlDatabase(engine, queue), queue, celery, workspace, metrics)


def build_workspace(settings: Settings, folder: DataFolder, metrics: Metrics) -> Workspace:
    """Slides, packages and scratch, in the data folder or in the store that the settings name."""
    if settings.store.url is None:
        observed = ObservedStore(FilesystemStore(folder.root), metrics)
        return Workspace(observed, FolderSlideFiles(folder.root), GrowingFiles(folder.root))
    store = ObservedPartStore(s3_store(settings.store), metrics)
    sources = SourceBuckets(s3_client(settings.store), settings.store.read_buckets)
    slides = BucketSlideFiles(store, folder.root, settings.store.cache_bytes, sources.get_file)
    return Workspace(store, slides, PartedFiles(store, folder.root), sources)


@contextmanager
def owned(settings: Settings) -> Iterator[None]:
    """Of an API's data folder: removes what dead processes were writing.

    Where everything lies in it, it is held for this process alone: raises `Conflict` when another one does.
    """
    folder = DataFolder(settings.data_dir)
    if not settings.broker.embedded:
        with folder.shared("uploads", Uploads(folder.root / "uploads").sweep):
            yield
        return
    with folder.owned():
        folder.sweep_half_written()
        yield


@contextmanager
def exporting(settings: Settings, sweep: Callable[[], None]) -> Iterator[None]:
    """Of a worker's data folder: calls ``sweep`` where no other worker writes files into it."""
    with DataFolder(settings.data_dir).shared("exporting", sweep):
        yield


def migrate(settings: Settings) -> None:
    """Brings the database to the shape this version needs."""
    DataFolder(settings.data_dir)
    engine = create_engine(settings.database_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
