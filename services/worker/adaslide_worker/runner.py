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
from adaslide.domain.errors import AdaSlideError, NotFound, StoreUnavailable, Unavailable
from adaslide.domain.job import JobState
from adaslide.observability.logs import about
from adaslide.observability.metrics import Metrics
from adaslide.observability.tracing import span
from adaslide.package.layout import shard_key
from adaslide.pipeline.plan import CompressionPlan
from adaslide.ports.jobs import Database, JobRecord, PackageRecord, SlideRecord, UnitOfWork
from adaslide.ports.queue import Message, Task
from adaslide.ports.work import CANARY, ShardClaim
from adaslide.settings import Compression
from adaslide_worker.compute import Compute
from adaslide_worker.keeper import Keeper

logger = logging.getLogger(__name__)

LONGEST_BACKOFF_S = 60.0
LEASES = {Task.PLAN: "plan", Task.FINALIZE: "finalize", Task.EXPORT: "export"}
"""What the leases of a job's steps are called; see `ports.work`."""
Step = Callable[[JobRecord, int, Keeper], None]
"""Of a job, under a lease's token, for as long as the keeper keeps it."""

GiveBack = Callable[[UnitOfWork], bool]
"""Gives the lease back under which something failed. False: it was another's already."""


def problem_of(error: Exception) -> dict[str, Any]:
    """What is stored and shown of an error: its code and, if it was raised on purpose, its message."""
    if isinstance(error, AdaSlideError):
        return {"type": f"/problems/{error.code}", "code": error.code, "detail": error.message}
    code = AdaSlideError.code
    return {"type": f"/problems/{code}", "code": code, "detail": f"unexpected: {type(error).__name__}"}


class JobRunner:
    """The bodies of the tasks. ``holder`` is the name under which this process holds leases."""

    def __init__(
        self,
        database: Database,
        workspace: Workspace,
        compute: Compute,
        rules: Compression,
        metrics: Metrics,
        holder: str,
    ) -> None:
        self._database = database
        self._workspace = workspace
        self._compute = compute
        self._rules = rules
        self._metrics = metrics
        self._holder = holder
        self.stopping = Event()
        """Set when the process stops: a shard under way is given back."""

    def canary(self) -> None:
        """Proves that messages arrive: see `Reconciler`."""
        with self._database.write() as unit:
            unit.work.pulse(CANARY)

    def plan(self, job_id: str) -> None:
        """Begins a job: looks at the slide and makes its shards claimable."""
        self._leased(Task.PLAN, job_id, {JobState.QUEUED, JobState.RUNNING}, self._plan)

    def finalize(self, job_id: str) -> None:
        """Completes, verifies and publishes the package."""
        self._leased(Task.FINALIZE, job_id, {JobState.VERIFYING}, self._finalize)

    def settle(self, job_id: str) -> None:
        """Ends a job whose cancellation was asked for; leaves any other as it is."""
        with self._database.write() as unit:
            cancelled = unit.jobs.transition(job_id, JobState.CANCELLED)
        if cancelled:
            self._sweep(job_id)

    def shard(self) -> None:
        """Compresses one shard, whichever's turn it is; the last one of a job leads to `finalize`."""
        if self.stopping.is_set():
            return
        with self._database.write() as unit:
            claim = unit.work.claim_shard(self._holder, self._rules.lease_s)
        if claim is None:
            return
        if claim.taken_over:
            self._metrics.leases_expired(1)
        shard = f"{claim.lease.shard.row}.{claim.lease.shard.col}"
        with (
            about(job=claim.job.id, shard=shard),
            span("shard", kind="internal", **{"adaslide.job": claim.job.id}),
        ):
            self._work_on(claim)

    def _work_on(self, claim: ShardClaim) -> None:
        try:
            self._check_attempts(claim.lease.attempt)
            self._compress(claim)
        except Exception as error:  # whatever it is, the job must not hang
            lease, attempt = claim.lease, claim.lease.attempt
            again = Message(Task.SHARD, (claim.job.id,))
            self._failed(again, attempt, error, lambda unit: unit.work.release_shard(lease, _delay(attempt)))

    def step(self, task: Task, job_id: str, states: set[JobState], step: Step) -> None:
        """Runs ``step`` of whoever lends its body to `Task` ``task``, as this class's own steps are run:
        leased, counted, tried again, and its failure stored."""
        self._leased(task, job_id, states, step)

    def _leased(self, task: Task, job_id: str, states: set[JobState], step: Step) -> None:
        """Runs ``step`` if the job is in one of ``states`` and nobody else is at it."""
        name = f"{LEASES[task]}/{job_id}"
        if self.stopping.is_set():
            return
        with self._database.write() as unit:
            try:
                job = unit.jobs.get(job_id)
            except NotFound:
                return
            if job.state is JobState.CANCELLING:
                unit.send(Message(Task.SETTLE, (job_id,)))
            token = unit.work.claim(name, self._holder, self._rules.lease_s) if job.state in states else None
            if token is None:
                return
            counts = task is not Task.FINALIZE or token > 1
            attempt = unit.jobs.begin_attempt(job_id) if counts else 1
        try:
            self._check_attempts(attempt)
            with Keeper(lambda: self._beat(name, token), self._rules.beat_s) as keeper:
                step(job, token, keeper)
        except Exception as error:  # whatever it is, the job must not hang
            self._failed(
                Message(task, (job_id,)), attempt, error, lambda unit: unit.work.beat(name, token, 0.0)
            )
        finally:
            with suppress(StoreUnavailable), self._database.write() as unit:
                unit.work.release(name, token)
        self._settle_if_asked(job_id)

    def _check_attempts(self, attempt: int) -> None:
        """Work that always kills its worker ends here: nobody lives to count a failure."""
        if attempt > self._rules.attempts:
            raise Unavailable(f"given up after {self._rules.attempts} attempts")

    def _beat(self, name: str, token: int) -> bool:
        with self._database.write() as unit:
            return unit.work.beat(name, token, self._rules.lease_s)

    def _plan(self, job: JobRecord, token: int, keeper: Keeper) -> None:
        with self._database.write() as unit:
            unit.jobs.transition(job.id, JobState.RUNNING)
            slide = unit.slides.get(job.slide_id)
            twin = unit.packages.matching(slide, job.compression)
            if twin is not None:
                self._adopt(unit, job, twin)
                return
            if unit.work.planned(job.id):
                return
        started = time.monotonic()
        with self._workspace.slides.local(slide) as path:
            work = self._compute.plan(path, job.compression)
        self._workspace.scratch(job.id).put(PLAN_KEY, work.to_bytes())
        shards = {shard: sum(1 for _ in work.grid.patches_of(shard)) for shard in work.grid.shards()}
        with self._database.write() as unit:
            if keeper.lost.is_set() or not unit.work.beat(f"plan/{job.id}", token, self._rules.lease_s):
                return
            unit.work.add_shards(job.id, shards)
            unit.jobs.add_work(job.id, time.monotonic() - started, wiring.peak_rss_bytes())
            for _ in shards:
                unit.send(Message(Task.SHARD, ()))

    @staticmethod
    def _adopt(unit: UnitOfWork, job: JobRecord, twin: PackageRecord) -> None:
        """The tenant has this very package already, of a slide with the same bytes: it is one more name."""
        patches = twin.totals["patches"]["total"]
        unit.jobs.set_progress(job.id, patches, patches)
        for state in (JobState.VERIFYING, JobState.SUCCEEDED):
            if not unit.jobs.transition(job.id, state):
                return
        unit.packages.add(_package(job, twin.totals, twin.location))

    def _plan_of(self, job: JobRecord) -> CompressionPlan:
        return CompressionPlan.from_bytes(self._workspace.scratch(job.id).get(PLAN_KEY))

    def _compress(self, claim: ShardClaim) -> None:
        lease, started, done = claim.lease, time.monotonic(), 0

        def renew() -> bool:
            with self._database.write() as unit:
                return unit.work.beat_shard(lease, done, self._rules.lease_s)

        def progress(patches: int) -> None:
            nonlocal done
            done += patches
            self._metrics.patches(patches)

        with (
            Keeper(renew, self._rules.beat_s) as keeper,
            self._workspace.slides.local(claim.slide) as path,
        ):
            finished = self._compute.shard(
                path,
                self._plan_of(claim.job),
                lease.shard,
                self._workspace.staged(lease.job_id, lease.shard, lease.token),
                progress=progress,
                cancelled=lambda: keeper.lost.is_set() or self.stopping.is_set(),
            )
        with self._database.write() as unit:
            if finished:
                took = time.monotonic() - started
                left = unit.work.finish_shard(lease, took, wiring.peak_rss_bytes())
                if left == 0 and unit.jobs.transition(lease.job_id, JobState.VERIFYING):
                    unit.send(Message(Task.FINALIZE, (lease.job_id,)))
            elif self.stopping.is_set() and unit.work.release_shard(lease, blameless=True):
                unit.send(Message(Task.SHARD, ()))
        if not finished:
            self._settle_if_asked(lease.job_id)

    def _finalize(self, job: JobRecord, token: int, keeper: Keeper) -> None:
        with self._database.read() as unit:
            slide = unit.slides.get(job.slide_id)
            winners = unit.work.winners(job.id)
        started = time.monotonic()
        work = self._plan_of(job)
        self._check_unchanged(slide, work)
        staged = {shard: self._workspace.staged(job.id, shard, winner) for shard, winner in winners.items()}
        location = self._workspace.location(job, token)
        package = self._workspace.package(location)
        for shard, store in staged.items():
            package.put(shard_key(0, shard), store.get(shard_key(0, shard)))
        totals = self._compute.finalize(work, package, staged.__getitem__, seconds=job.seconds)
        with self._database.write() as unit:
            unit.jobs.add_work(job.id, time.monotonic() - started, wiring.peak_rss_bytes())
            # In the same transaction: nobody else can have been given the lease before this one commits.
            if not unit.work.beat(f"finalize/{job.id}", token, self._rules.lease_s):
                return
            if not unit.jobs.transition(job.id, JobState.SUCCEEDED):
                return  # cancelled meanwhile
            unit.packages.add(_package(job, totals, location))
        self._metrics.package_finished(totals)
        self._sweep(job.id)

    def _check_unchanged(self, slide: SlideRecord, work: CompressionPlan) -> None:
        if not slide.staged:
            with self._workspace.slides.local(slide) as path:
                self._compute.check_unchanged(path, work)

    def _settle_if_asked(self, job_id: str) -> None:
        with suppress(StoreUnavailable, NotFound):
            with self._database.read() as unit:
                asked = unit.jobs.get(job_id).state is JobState.CANCELLING
            if asked:
                self.settle(job_id)

    def _sweep(self, job_id: str) -> None:
        """Removes what the ended job left, now; `Reconciler` looks again once no worker can be at it."""
        with suppress(AdaSlideError):
            with self._database.read() as unit:
                job = unit.jobs.get(job_id)
                keep = unit.packages.kept(job)
            self._workspace.sweep(job, keep)

    def _failed(self, again: Message, attempt: int, error: Exception, give_back: GiveBack) -> None:
        # The text of an unexpected error may hold a path, which may name a patient: only its place is logged.
        job_id = str(again.args[0])
        if isinstance(error, AdaSlideError):
            said = error.code
        else:
            said = "\n".join([type(error).__name__, *traceback.format_tb(error.__traceback__)[-3:]])
        logger.warning("job %s: %s", job_id, said)
        try:
            failed = self._retry_or_fail(again, attempt, error, give_back)
        except StoreUnavailable:
            # Nobody renews the lease: the work is handed out again when the database answers.
            logger.warning("job %s: the failure could not be stored", job_id)
            return
        if failed:
            self._sweep(job_id)

    def _retry_or_fail(self, again: Message, attempt: int, error: Exception, give_back: GiveBack) -> bool:
        """True when the job has failed for good."""
        job_id = str(again.args[0])
        problem = problem_of(error)
        passing = isinstance(error, MemoryError) or (isinstance(error, AdaSlideError) and error.retryable)
        with self._database.write() as unit:
            if not give_back(unit):
                return False  # somebody else is at it: what went wrong here does not count
            if unit.jobs.get(job_id).state is JobState.CANCELLING:
                unit.send(Message(Task.SETTLE, (job_id,)))
                return False
            if passing and attempt < self._rules.attempts:
                delay = _delay(attempt)
                self._metrics.retried(again.task.value)
                unit.jobs.log(job_id, "retry", {"attempt": attempt, "delay": delay, "problem": problem})
                if again.task is not Task.SHARD:
                    unit.send(replace(again, delay=delay))
                return False
            return unit.jobs.transition(job_id, JobState.FAILED, problem=problem)


def _delay(attempt: int) -> float:
    """Seconds before what failed for the ``attempt``-th time is tried again."""
    return min(LONGEST_BACKOFF_S, 2.0**attempt)


def _package(job: JobRecord, totals: dict[str, Any], location: str) -> PackageRecord:
    return PackageRecord(
        job.package_id, job.slide_id, job.id, job.compression, totals, datetime.now(UTC), location
    )
