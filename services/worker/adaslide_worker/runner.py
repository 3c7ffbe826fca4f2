"""A job's way from queued to a terminal state. Every step is idempotent and ends in the database.

The database says what is true; a message only wakes somebody up who looks there. Whatever goes
wrong ends as a retry (bounded) or as ``failed`` with the problem stored: no job hangs.
"""

import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event
from typing import Any

from adaslide import wiring
from adaslide.adapters.workspace import PLAN_KEY, Workspace
from adaslide.domain.errors import AdaSlideError, NotFound, Unavailable
from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import JobState
from adaslide.pipeline.plan import CompressionPlan
from adaslide.ports.jobs import Database, JobRecord, PackageRecord
from adaslide.ports.queue import Message, Task, TaskQueue
from adaslide_worker.compute import Compute

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 0.4
"""Progress is written, and a cancellation looked for, at most this often."""
LONGEST_BACKOFF_S = 60.0
DATABASE_BACKOFF_S = 15.0


def problem_of(error: Exception) -> dict[str, Any]:
    """What is stored and shown of an error: its code and, if it was raised on purpose, its message."""
    if isinstance(error, AdaSlideError):
        return {"type": f"/problems/{error.code}", "code": error.code, "detail": error.message}
    code = AdaSlideError.code
    return {"type": f"/problems/{code}", "code": code, "detail": f"unexpected: {type(error).__name__}"}


class JobRunner:
    """The bodies of the tasks."""

    def __init__(
        self, database: Database, queue: TaskQueue, workspace: Workspace, compute: Compute, attempts: int
    ) -> None:
        self._database = database
        self._queue = queue
        self._workspace = workspace
        self._compute = compute
        self._attempts = attempts
        self.stopping = Event()
        """Set when the service stops: shards under way are left, and taken up at the next start."""

    def plan(self, job_id: str) -> None:
        """Begins a job, or takes it up again wherever it stands."""
        self._run(Message(Task.PLAN, (job_id,)), job_id, self._plan)

    def shard(self, job_id: str, row: int, col: int) -> None:
        """Compresses one shard; the last one of the job leads to `finalize`."""
        message = Message(Task.SHARD, (job_id, row, col))
        self._run(message, job_id, lambda job: self._shard(job, ShardIndex(row, col)))

    def finalize(self, job_id: str) -> None:
        """Completes, verifies and publishes the package."""
        self._run(Message(Task.PLAN, (job_id,)), job_id, self._finalize)

    def settle(self, job_id: str) -> None:
        """Ends a job that is being cancelled."""
        self._run(Message(Task.SETTLE, (job_id,)), job_id, lambda job: None)

    def recover(self) -> int:
        """At start: removes what dead attempts left, wakes every unfinished job, returns how many."""
        with self._database.read() as unit:
            jobs = unit.jobs.unfinished()
            self._workspace.sweep(jobs, unit.jobs.fruitless())
        for job in jobs:
            self._queue.send(Message(Task.PLAN, (job.id,)))
        return len(jobs)

    def _run(self, again: Message, job_id: str, step: Callable[[JobRecord], None]) -> None:
        """Runs ``step`` on a job that is still to be done; ``again`` is what a retry sends."""
        if self.stopping.is_set():
            return
        try:
            job = self._find(job_id)
            if job is None:
                return
            if not job.state.terminal and job.state is not JobState.CANCELLING:
                step(job)
            self._settle(job_id)
        except Exception as error:  # whatever it is, the job must not hang
            self._failed(again, job_id, error)

    def _find(self, job_id: str) -> JobRecord | None:
        with self._database.read() as unit, suppress(NotFound):
            return unit.jobs.get(job_id)
        return None

    def _plan(self, job: JobRecord) -> None:
        with self._database.write() as unit:
            attempt = unit.jobs.begin_attempt(job.id)
            unit.jobs.transition(job.id, JobState.RUNNING)
            planned = unit.jobs.has_shards(job.id)
            slide = unit.slides.get(job.slide_id)
        if attempt > self._attempts:
            raise Unavailable(f"given up after {self._attempts} attempts")
        if job.state is JobState.VERIFYING:
            self._finalize(job)
            return
        if not planned:
            started = time.monotonic()
            work = self._compute.plan(self._workspace.slide_path(slide), job.request)
            self._workspace.scratch(job.id).put(PLAN_KEY, work.to_bytes())
            shards = {shard: sum(1 for _ in work.grid.patches_of(shard)) for shard in work.grid.shards()}
            with self._database.write() as unit:
                unit.jobs.add_shards(job.id, shards)
                unit.jobs.add_work(job.id, time.monotonic() - started, wiring.peak_rss_bytes())
        with self._database.write() as unit:
            waiting = unit.jobs.open_shards(job.id)
            for shard in waiting:
                unit.send(Message(Task.SHARD, (job.id, shard.row, shard.col)))
            if not waiting and unit.jobs.transition(job.id, JobState.VERIFYING):
                unit.send(Message(Task.FINALIZE, (job.id,)))

    def _plan_of(self, job: JobRecord) -> CompressionPlan:
        return CompressionPlan.from_bytes(self._workspace.scratch(job.id).get(PLAN_KEY))

    def _shard(self, job: JobRecord, shard: ShardIndex) -> None:
        with self._database.write() as unit:
            attempt = unit.jobs.begin_shard(job.id, shard)
            slide = unit.slides.get(job.slide_id)
        if attempt is None:
            return
        if attempt > self._attempts:
            raise Unavailable(f"given up after {self._attempts} attempts at one shard")
        started = time.monotonic()
        pulse = _Pulse(self._database, self.stopping, job.id, shard)
        finished = self._compute.shard(
            self._workspace.slide_path(slide),
            self._plan_of(job),
            shard,
            self._workspace.package(job.package_id),
            self._workspace.scratch(job.id),
            progress=pulse.progress,
            cancelled=pulse.cancelled,
        )
        with self._database.write() as unit:
            unit.jobs.add_work(job.id, time.monotonic() - started, wiring.peak_rss_bytes())
            if not finished:
                return
            unit.jobs.finish_shard(job.id, shard)
            if not unit.jobs.open_shards(job.id) and unit.jobs.transition(job.id, JobState.VERIFYING):
                unit.send(Message(Task.FINALIZE, (job.id,)))

    def _finalize(self, job: JobRecord) -> None:
        if job.state is not JobState.VERIFYING:
            return
        started = time.monotonic()
        work = self._plan_of(job)
        with self._database.read() as unit:
            slide = unit.slides.get(job.slide_id)
        if not slide.staged:
            self._compute.check_unchanged(self._workspace.slide_path(slide), work)
        totals = self._compute.finalize(
            work,
            self._workspace.package(job.package_id),
            self._workspace.scratch(job.id),
            seconds=job.seconds,
        )
        package = PackageRecord(job.package_id, job.slide_id, job.id, job.request, totals, datetime.now(UTC))
        with self._database.write() as unit:
            unit.jobs.add_work(job.id, time.monotonic() - started, wiring.peak_rss_bytes())
            if not unit.jobs.transition(job.id, JobState.SUCCEEDED):
                return  # cancelled meanwhile: `_run` settles it
            unit.packages.add(package)
        self._workspace.remove_scratch(job.id)

    def _settle(self, job_id: str) -> None:
        """Ends a job whose cancellation was asked for; leaves any other as it is."""
        with self._database.write() as unit:
            cancelled = unit.jobs.transition(job_id, JobState.CANCELLED)
            job = unit.jobs.get(job_id)
        if cancelled:
            self._workspace.remove_job(job)

    def _failed(self, again: Message, job_id: str, error: Exception) -> None:
        if isinstance(error, AdaSlideError):
            logger.warning("job %s: %s", job_id, error.code)
        else:
            # The text of such an error may hold a path, which may name a patient: only its place is logged.
            place = "".join(traceback.format_tb(error.__traceback__)[-3:])
            logger.warning("job %s: %s\n%s", job_id, type(error).__name__, place)
        try:
            self._retry_or_fail(again, job_id, error)
        except Exception as second:  # the database does not answer: ask again, it must one day
            logger.warning("job %s: the failure could not be stored (%s)", job_id, type(second).__name__)
            self._queue.send(replace(Message(Task.PLAN, (job_id,)), delay=DATABASE_BACKOFF_S))

    def _retry_or_fail(self, again: Message, job_id: str, error: Exception) -> None:
        problem = problem_of(error)
        passing = isinstance(error, MemoryError) or (isinstance(error, AdaSlideError) and error.retryable)
        with self._database.write() as unit:
            job = unit.jobs.get(job_id)
            attempt = job.attempts
            if again.task is Task.SHARD:
                _, row, col = again.args
                attempt = unit.jobs.shard_attempts(job_id, ShardIndex(int(row), int(col)))
            if job.state is JobState.CANCELLING:
                unit.send(Message(Task.SETTLE, (job_id,)))
                return
            if passing and attempt < self._attempts:
                delay = min(LONGEST_BACKOFF_S, 2.0**attempt)
                unit.jobs.log(job_id, "retry", {"attempt": attempt, "delay": delay, "problem": problem})
                unit.send(replace(again, delay=delay))
                return
            failed = unit.jobs.transition(job_id, JobState.FAILED, problem=problem)
        if failed:
            self._workspace.remove_job(job)


class _Pulse:
    """What a shard under way tells and asks the database, at most every `PROGRESS_INTERVAL_S`."""

    def __init__(self, database: Database, stopping: Event, job_id: str, shard: ShardIndex) -> None:
        self._database = database
        self._stopping = stopping
        self._job_id = job_id
        self._shard = shard
        self._done = 0
        self._next = time.monotonic()
        self._asked = False

    def progress(self, patches: int) -> None:
        self._done += patches
        self._asked = time.monotonic() >= self._next
        if self._asked:
            self._next = time.monotonic() + PROGRESS_INTERVAL_S
            with self._database.write() as unit:
                unit.jobs.shard_progress(self._job_id, self._shard, self._done)

    def cancelled(self) -> bool:
        if self._stopping.is_set():
            return True
        if not self._asked:
            return False
        with self._database.read() as unit:
            return unit.jobs.get(self._job_id).state is not JobState.RUNNING
