"""What a service's API and its workers share, chosen by the settings."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from adaslide.adapters.data_folder import DataFolder
from adaslide.adapters.db.migrate import check_current, upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.observed import ObservedStore
from adaslide.adapters.objects.s3 import s3_store
from adaslide.adapters.objects.s3_client import s3_client
from adaslide.adapters.queue.celery_queue import CeleryQueue, create_celery
from adaslide.adapters.slide_files.bucket import BucketSlideFiles
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.slide_files.sources import SourceBuckets
from adaslide.adapters.workspace import Workspace
from adaslide.observability.metrics import Metrics
from adaslide.ports.jobs import Database
from adaslide.ports.queue import Task, TaskQueue
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

    def canary_age(self) -> float | None:
        """Seconds since a worker last consumed a message; None where none ever did."""
        with self.database.read() as unit:
            return unit.work.pulse_age(Task.CANARY)


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
        return Workspace(ObservedStore(FilesystemStore(folder.root), metrics), FolderSlideFiles(folder.root))
    store = ObservedStore(s3_store(settings.store), metrics)
    sources = SourceBuckets(s3_client(settings.store), settings.store.read_buckets)
    slides = BucketSlideFiles(store, folder.root, settings.store.cache_bytes, sources.get_file)
    return Workspace(store, slides, sources)


def owned(settings: Settings) -> AbstractContextManager[None]:
    """Holds the data folder for this process where everything lies in it; `Conflict` when another does."""
    return DataFolder(settings.data_dir).owned() if settings.broker.embedded else nullcontext()


def migrate(settings: Settings) -> None:
    """Brings the database to the shape this version needs."""
    DataFolder(settings.data_dir)
    engine = create_engine(settings.database_url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
