"""Sends again what was lost: between what the database says is due and what messages say, it decides.

Redis may lose everything, a worker may die with a message in its hands, a process may die between its
commit and its message. None of it loses a job: every worker runs this, and one at a time does the work.
"""

import logging
from contextlib import suppress

from adaslide.adapters.workspace import Workspace
from adaslide.domain.errors import AdaSlideError, BrokerUnavailable, Unavailable
from adaslide.ports.jobs import Database
from adaslide.ports.queue import Message, Task, TaskQueue
from adaslide.settings import Compression
from adaslide_worker.periodic import Periodic

logger = logging.getLogger(__name__)

RINGS = 64
"""Doorbells sent at once: workers ring for each other while there is work."""
MESSAGES = 200
WAKE_AFTER = 5.0
"""Looks (`Compression.reconcile_s`) that a message has to be answered in before it is sent again."""
CANARY_EVERY = 5.0
"""Looks between two canaries."""
SENT = "canary-sent"


class Reconciler(Periodic):
    """Looks every `Compression.reconcile_s` seconds until left."""

    def __init__(
        self, database: Database, queue: TaskQueue, workspace: Workspace, rules: Compression, holder: str
    ) -> None:
        super().__init__(self._looked, rules.reconcile_s, "adaslide-reconciler")
        self._database = database
        self._queue = queue
        self._workspace = workspace
        self._rules = rules
        self._holder = holder

    def _looked(self) -> bool:
        try:
            self.look()
        except Unavailable as error:
            logger.warning("cannot look for lost work: %s", error.code)
        except Exception as error:  # one bad row must not end the looking
            logger.warning("looking for lost work failed: %s", type(error).__name__)
        return True

    def look(self) -> None:
        """Once, unless another process looked a moment ago. Raises `Unavailable`."""
        every = self._rules.reconcile_s
        with self._database.write() as unit:
            # The lease is a rate limit: it is not given back but runs out.
            if unit.work.claim("reconcile", self._holder, 0.9 * every) is None:
                return
            due = unit.work.wake(WAKE_AFTER * every)
            shards = unit.work.waiting()
            age = unit.work.pulse_age(SENT)
            canary = age is None or age >= CANARY_EVERY * every
            if canary:
                unit.work.pulse(SENT)
        self._relay()
        for message in due:
            self._queue.send(message)
        if shards:
            missing = shards - self._queue.waiting()
            for _ in range(min(missing, RINGS)):
                self._queue.send(Message(Task.SHARD, ()))
        if canary:
            self._queue.send(Message(Task.CANARY, ()))
        self._sweep()

    def _relay(self) -> None:
        """Hands the queue what its writers could not."""
        with self._database.write() as unit:
            sent = []
            with suppress(BrokerUnavailable):
                for row_id, message in unit.work.unsent(MESSAGES).items():
                    self._queue.send(message)
                    sent.append(row_id)
            unit.work.sent(sent)

    def _sweep(self) -> None:
        """Removes what ended jobs left, once no worker can be at it any more, and results too old."""
        with self._database.write() as unit:
            unit.jobs.expire_results(self._rules.result_s)
            unit.uploads.expire()
        self._sweep_uploads()
        with self._database.read() as unit:
            ended = [(job, unit.packages.kept(job)) for job in unit.jobs.unswept(self._rules.lease_s)]
        for job, keep in ended:
            with suppress(AdaSlideError):
                self._workspace.sweep(job, keep)
                with self._database.write() as unit:
                    unit.jobs.mark_swept(job.id)

    def _sweep_uploads(self) -> None:
        """Removes what uploads left that ended without becoming a slide."""
        with self._database.read() as unit:
            ended = unit.uploads.ended()
        for upload in ended:
            with suppress(AdaSlideError):
                self._workspace.uploads.remove(upload)
                with self._database.write() as unit:
                    unit.uploads.forget(upload.id)
