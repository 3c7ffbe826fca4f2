"""Where a worker's parts meet: database, queue and workspace, chosen by the settings."""

from dataclasses import dataclass
from typing import Any

from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.queue.celery_queue import CeleryQueue, create_celery
from adaslide.ports.jobs import Database
from adaslide.ports.queue import TaskQueue
from adaslide.settings import Settings
from adaslide_worker.compute import Compute
from adaslide_worker.runner import JobRunner
from adaslide_worker.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Backend:
    """What API and worker share."""

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


def build_compute(settings: Settings) -> Compute:
    """The heavy part; its processes start with the first job."""
    return Compute(settings.compression.workers)


def build_runner(backend: Backend, compute: Compute) -> JobRunner:
    """The bodies of the tasks on ``backend``."""
    attempts = backend.settings.compression.attempts
    return JobRunner(backend.database, backend.queue, backend.workspace, compute, attempts)
