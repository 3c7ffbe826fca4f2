"""How a job is asked for: the same work is never done twice."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

from adaslide.adapters.db.ids import new_id
from adaslide.domain.errors import Conflict, InputError, MissingMpp, NotFound, Unavailable
from adaslide.domain.job import JobKind, JobState, Urgency
from adaslide.domain.slide import MPP_RANGE
from adaslide.ports.jobs import (
    CompressRequest,
    Database,
    JobRecord,
    JobRequest,
    PackageRecord,
    RestoreRequest,
    SlideRecord,
    UnitOfWork,
    request_fields,
)
from adaslide.ports.queue import Message, Task
from adaslide.settings import Compression
from adaslide.wiring import judge_named
from adaslide_api.trail import Trail


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def checked_request(slide: SlideRecord, request: CompressRequest) -> CompressRequest:
    """The request with its profile's full name.

    Raises `ProfileInvalid`, `MissingMpp`, `InputError` also for a scale that a judge of the profile does not
    know, and `ModelError` for a judge that is not installed.
    """
    low, high = MPP_RANGE
    if request.mpp is not None and not low <= request.mpp <= high:
        raise InputError(f"mpp is between {low} and {high} micrometres per pixel")
    if request.mpp is None and slide.facts["mpp"] is None:
        raise MissingMpp("the slide does not say its micrometres per pixel; supply mpp")
    policy = request.policy()
    for judge in filter(None, (policy.judge, policy.second_judge)):
        judge_named(judge, request.mpp or slide.facts["mpp"])
    return replace(request, profile=policy.id)


def _first_message(job: JobRecord) -> Message:
    return Message(Task.EXPORT if job.kind is JobKind.RESTORE else Task.PLAN, (job.id,))


class _Order:
    """A request under the caller's Idempotency-Key, if it has one."""

    def __init__(self, slide: SlideRecord, request: JobRequest, key: str | None) -> None:
        # Two tenants may use one key.
        self._key = None if key is None else _digest(json.dumps([slide.tenant, key]))
        self._fingerprint = _digest(json.dumps([slide.id, request_fields(request)], sort_keys=True))

    def known(self, unit: UnitOfWork) -> str | None:
        """The job that the key made. Raises `Conflict` when it came with another request."""
        used = None if self._key is None else unit.keys.get(self._key)
        if used is None:
            return None
        if used[0] != self._fingerprint:
            raise Conflict("that Idempotency-Key was used for another request")
        return used[1]

    def remember(self, unit: UnitOfWork, job_id: str) -> None:
        """The key has made that job."""
        if self._key is not None:
            unit.keys.add(self._key, self._fingerprint, job_id)


class Submitter:
    """Makes jobs, or finds the one, or the package, that is the answer already."""

    def __init__(self, database: Database, rules: Compression) -> None:
        self._database = database
        self._rules = rules

    def submit(
        self,
        slide: SlideRecord,
        request: CompressRequest,
        key: str | None,
        urgency: Urgency,
        callback_url: str | None,
        trail: Trail,
    ) -> JobRecord | PackageRecord:
        """The slide's package if it exists, else the job that will make it. ``key`` is the caller's
        Idempotency-Key.

        Raises what `checked_request` raises, `Conflict` when the key came with another request, and
        `Unavailable` when too many jobs are unfinished.
        """
        request = checked_request(slide, request)
        order = _Order(slide, request, key)
        with trail.change(self._database) as unit:
            job_id = order.known(unit)
            if job_id is None:
                # Asked first: a job that ends between the two questions has left its package for the second.
                active = unit.jobs.active(slide.id, request)
                package = unit.packages.matching(slide, request)
                if package is not None and package.slide_id == slide.id:
                    job_id = package.job_id
                else:
                    job_id = (active or self._new_job(unit, slide, request, urgency, callback_url)).id
                order.remember(unit, job_id)
            trail.note(slide=slide.id, job=job_id)
            return self._outcome(unit, job_id)

    def restore(
        self,
        slide: SlideRecord,
        request: RestoreRequest,
        key: str | None,
        callback_url: str | None,
        trail: Trail,
    ) -> JobRecord:
        """The job that writes the file, or the one that is at it or has written it, as long as the file is
        kept. Raises `Conflict` and `Unavailable` as `submit` does."""
        order = _Order(slide, request, key)
        with trail.change(self._database) as unit:
            known = order.known(unit)
            if known is None:
                active = unit.jobs.active(slide.id, request)  # asked first, as in `submit`
                found = unit.jobs.restored(slide.id, request) or active
                known = (found or self._new_job(unit, slide, request, Urgency.ROUTINE, callback_url)).id
                order.remember(unit, known)
            trail.note(job=known)
            return unit.jobs.get(known)

    @staticmethod
    def _outcome(unit: UnitOfWork, job_id: str) -> JobRecord | PackageRecord:
        job = unit.jobs.get(job_id)
        if job.state is not JobState.SUCCEEDED:
            return job
        try:
            return unit.packages.get(job.package_id)
        except NotFound:
            raise Conflict("the package that this Idempotency-Key led to was removed") from None

    def _new_job(
        self,
        unit: UnitOfWork,
        slide: SlideRecord,
        request: JobRequest,
        urgency: Urgency,
        callback_url: str | None,
    ) -> JobRecord:
        self._check_room(unit, slide.tenant)
        job = JobRecord(
            id=new_id(),
            slide_id=slide.id,
            package_id=new_id(),
            request=request,
            state=JobState.QUEUED,
            done=0,
            total=0,
            attempts=0,
            problem=None,
            seconds=0.0,
            peak_rss_bytes=0,
            created_at=datetime.now(UTC),
            started_at=None,
            finished_at=None,
            tenant=slide.tenant,
            urgency=urgency,
            callback_url=callback_url,
        )
        unit.jobs.add(job)
        unit.send(_first_message(job))
        return job

    def _check_room(self, unit: UnitOfWork, tenant: str) -> None:
        every, own = unit.jobs.count_unfinished(tenant)
        if every >= self._rules.unfinished_jobs or own >= self._rules.unfinished_jobs_per_tenant:
            raise Unavailable("too many jobs are unfinished")

    def cancel(self, job_id: str, tenant: str, trail: Trail) -> JobRecord:
        """Asks for the job's end. Raises `NotFound`, and `Conflict` when it has ended otherwise."""
        with trail.change(self._database) as unit:
            unit.jobs.get(job_id, tenant)
            if unit.jobs.transition(job_id, JobState.CANCELLING):
                unit.send(Message(Task.SETTLE, (job_id,)))
            job = unit.jobs.get(job_id)
            if job.state not in (JobState.CANCELLING, JobState.CANCELLED):
                raise Conflict(f"the job has {job.state.value} already")
            return job

    def replay(self, job_id: str, tenant: str, trail: Trail) -> JobRecord:
        """Queues a failed job again, from its beginning. Raises `NotFound`, and `Conflict` unless it failed
        and nothing else does its work now."""
        with trail.change(self._database) as unit:
            job = unit.jobs.get(job_id, tenant)
            if unit.jobs.active(job.slide_id, job.request) is not None:
                raise Conflict("another job does this work already")
            if not unit.jobs.transition(job_id, JobState.QUEUED):
                raise Conflict(f"only a failed job is replayed; this one is {job.state.value}")
            self._check_room(unit, tenant)
            unit.send(_first_message(job))
            return unit.jobs.get(job_id)
