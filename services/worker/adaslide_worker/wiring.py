"""Where a worker's parts meet."""

from adaslide.backend import Backend
from adaslide.settings import Settings
from adaslide_worker.compute import Compute
from adaslide_worker.runner import JobRunner


def build_compute(settings: Settings) -> Compute:
    """The heavy part; its processes start with the first job."""
    return Compute(settings.compression.workers)


def build_runner(backend: Backend, compute: Compute) -> JobRunner:
    """The bodies of the tasks on ``backend``."""
    attempts = backend.settings.compression.attempts
    return JobRunner(backend.database, backend.queue, backend.workspace, compute, attempts)
