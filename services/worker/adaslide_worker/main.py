"""The worker: Celery in a thread, of the service's own process or of one that does nothing else."""

import logging
import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from threading import Event, Thread
from types import TracebackType
from typing import Self

from celery.app.trace import setup_worker_optimizations
from celery.worker import WorkController, state

from adaslide.adapters.queue.celery_queue import QUEUES, queue_name
from adaslide.backend import Backend, build_backend, exporting
from adaslide.domain.errors import InputError, Unavailable
from adaslide.observability.process import observed_process
from adaslide.observability.readiness import Probe, Readiness
from adaslide.settings import Settings
from adaslide_worker.hearing import Hearing
from adaslide_worker.tasks import register
from adaslide_worker.wiring import (
    build_compute,
    build_exports,
    build_notifier,
    build_probes,
    build_reconciler,
    build_runner,
    holder_name,
)

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
WATCH_S = 0.5


class Worker:
    """Takes up unfinished jobs and works until left. One per process: Celery keeps the wish to stop in a
    variable of its module.

    With ``alone`` nobody else works on this database (`DataFolder.owned`): what dead processes held is
    free at once.
    """

    def __init__(self, backend: Backend, *, alone: bool, queues: Sequence[str] = QUEUES) -> None:
        self._backend = backend
        self._queues = [queue_name(backend.settings, queue) for queue in queues]
        self._alone = alone
        holder = holder_name()
        self._compute = build_compute(backend.settings)
        self._runner = build_runner(backend, self._compute, holder)
        self._exports = build_exports(backend, self._runner)
        self._notifier = build_notifier(backend, holder)
        self._reconciler = build_reconciler(backend, holder)
        self._hearing = Hearing(self._waiting)
        self._ready = Event()
        self._worker = Thread(target=self._work, name="adaslide-worker", daemon=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Raises `Unavailable` when Celery does not start, `ModelError` when nets fail their golden tiles."""
        self._compute.start()
        register(self._backend.celery, self._runner, self._exports, self._notifier, self._hearing)
        if self._alone:
            with self._backend.database.write() as unit:
                unit.work.forget_leases()
            self._backend.workspace.slides.sweep_uploads()
            self.sweep_exports()
        self._worker.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise Unavailable("the worker did not start")
        with suppress(Unavailable):
            self._reconciler.look()
        self._stack.enter_context(self._reconciler)
        logger.info("worker ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives a shard under way back within moments; another worker, or the next start, takes it."""
        self._runner.stopping.set()
        self._stack.close()
        # Celery's own `stop` from another thread can hang while a task runs.
        state.should_stop = 0
        self._worker.join(STOP_TIMEOUT_S)
        state.should_stop = None
        self._compute.close()

    def sweep_exports(self) -> None:
        """Removes what dead processes were writing on this machine; only where no living one is."""
        self._exports.sweep()

    def check(self) -> None:
        """Raises `Unavailable` when it does not work."""
        if not self.alive:
            raise Unavailable("the worker has stopped")
        if self._hearing.deaf:
            raise Unavailable("the worker does not hear its messages")

    @property
    def alive(self) -> bool:
        return self._worker.is_alive()

    def _waiting(self) -> int:
        return sum(self._backend.queue.waiting(queue) for queue in self._queues)

    def _work(self) -> None:
        # Not `app.Worker`: that one is for a process of its own, and sets up signals and logging there.
        # What it does that is needed here: without the first line the pool's threads know no tasks.
        hostname = f"adaslide@{os.getpid()}"
        setup_worker_optimizations(self._backend.celery, hostname)
        WorkController(
            app=self._backend.celery,
            hostname=hostname,
            queues=self._queues,
            pool="threads",
            concurrency=1,
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            ready_callback=lambda _consumer: self._ready.set(),
        ).start()


def run_worker(settings: Settings, queues: Sequence[str] = QUEUES) -> None:
    """Works on ``queues`` until SIGTERM or SIGINT.

    Raises `InputError` without a broker or for a queue that there is not, `Unavailable` when the worker stops
    by itself or hears nothing any more: whoever started the process starts another.
    """
    if settings.broker.embedded:
        raise InputError("a worker of its own needs a broker: set ADASLIDE_BROKER__URL=redis://...")
    if not queues or not set(queues) <= set(QUEUES):
        raise InputError(f"queues are {' and '.join(QUEUES)}")
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    backend = build_backend(settings)
    try:
        worker = Worker(backend, alone=False, queues=queues)
        readiness = Readiness([*build_probes(backend), Probe("workers", worker.check)])
        with (
            exporting(settings, worker.sweep_exports),
            observed_process(settings, "adaslide-worker", backend.metrics, readiness),
            worker,
        ):
            print("AdaSlide works", flush=True)
            while not stop.wait(WATCH_S):
                worker.check()
    finally:
        backend.database.close()
