"""What a service's API and its workers share, chosen by the settings."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from adaslide.adapters.data_folder import DataFolder
from adaslide.adapters.db.migrate import check_current, upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.queue.celery_queue import CeleryQueue, create_celery
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.workspace import Workspace
from adaslide.ports.jobs import Database
from adaslide.ports.queue import TaskQueue
from adaslide.settings import Settings


@dataclass(frozen=True, slots=True)
class Backend:
    """Database, queue and workspace; ``celery`` is the queue's application, for the worker."""

    settings: Settings
    database: Database
    queue: TaskQueue
    celery: Any
    workspace: Workspace


def build_backend(settings: Settings) -> Backend:
    """Opens everything the settings name; makes and migrates the database where they say so.

    Raises `StoreUnavailable` when something does not answer or has not been migrated.
    """
    engine = create_engine(settings.database_url, settings.database.pool)
    folder = DataFolder(settings.data_dir)
    (upgrade if settings.database.migrate else check_current)(engine)
    celery = create_celery(settings)
    queue = CeleryQueue(celery)
    return Backend(settings, SqlDatabase(engine, queue), queue, celery, build_workspace(settings, folder))


def build_workspace(settings: Settings, folder: DataFolder) -> Workspace:
    """Slides, packages and scratch, in the data folder or in the store that the settings name."""
    return Workspace(FilesystemStore(folder.root), FolderSlideFiles(folder.root))


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
