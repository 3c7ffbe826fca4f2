"""The worker of the embedded mode: a Celery worker in a thread of the service's own process."""

import logging
from threading import Event, Thread
from types import TracebackType
from typing import Self

from celery.app.trace import setup_worker_optimizations
from celery.worker import WorkController, state

from adaslide.backend import Backend
from adaslide.domain.errors import Unavailable
from adaslide_worker.tasks import register
from adaslide_worker.wiring import build_compute, build_runner

logger = logging.getLogger(__name__)

HOSTNAME = "embedded@localhost"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class EmbeddedWorker:
    """Takes up unfinished jobs and works until left. One per data folder (see `Workspace.owned`), and
    one per process: Celery keeps the wish to stop in a variable of its module."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._compute = build_compute(backend.settings)
        self._runner = build_runner(backend, self._compute)
        self._ready = Event()
        self._worker = Thread(target=self._work, name="adaslide-worker", daemon=True)

    def __enter__(self) -> Self:
        """Raises `Unavailable` when Celery does not start."""
        register(self._backend.celery, self._runner)
        self._worker.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise Unavailable("the worker did not start")
        resumed = self._runner.recover()
        logger.info("worker ready, %d unfinished jobs taken up again", resumed)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves a shard under way within moments; the job is taken up at the next start."""
        self._runner.stopping.set()
        # Celery's own `stop` from another thread can hang while a task runs.
        state.should_stop = 0
        self._worker.join(STOP_TIMEOUT_S)
        state.should_stop = None
        self._compute.close()

    @property
    def alive(self) -> bool:
        return self._worker.is_alive()

    def _work(self) -> None:
        # Not `app.Worker`: that one is for a process of its own, and sets up signals and logging there.
        # What it does that is needed here: without the first line the pool's threads know no tasks.
        setup_worker_optimizations(self._backend.celery, HOSTNAME)
        WorkController(
            app=self._backend.celery,
            hostname=HOSTNAME,
            pool="threads",
            concurrency=1,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            ready_callback=lambda _consumer: self._ready.set(),
        ).start()
