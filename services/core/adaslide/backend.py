"""What a service's API and its workers share, chosen by the settings."""

from dataclasses import dataclass
from typing import Any

from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.queue.celery_queue import CeleryQueue, create_celery
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
    """Opens (and makes, and migrates) everything the settings name."""
    workspace = Workspace(settings.data_dir)
    engine = create_engine(settings.database_url)
    upgrade(engine)
    celery = create_celery(settings)
    queue = CeleryQueue(celery)
    return Backend(settings, SqlDatabase(engine, queue), queue, celery, workspace)
