"""Jobs: look at, follow, cancel."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

from anyio import sleep, to_thread
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from adaslide.domain.access import Role
from adaslide.domain.errors import InputError, NotFound
from adaslide.domain.job import JobState
from adaslide.ports.jobs import JobEvent, JobRecord, UnitOfWork
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import Id, ServicesDep
from adaslide_api.problems import problems
from adaslide_api.schemas import JobOut, JobPage
from adaslide_api.trail import trail_of
from adaslide_api.wiring import Services

router = APIRouter(tags=["jobs"])

POLL_S = 0.25
PROGRESS = "progress"
EVENT = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["event", "data"],
}
"""Of the stream: ``data`` is JSON."""
LOOK = require(Role.VIEWER, Role.INTEGRATOR, Role.OPERATOR)


def _out(unit: UnitOfWork, job: JobRecord) -> JobOut:
    package = None
    if job.state is JobState.SUCCEEDED:
        with suppress(NotFound):  # removed since
            package = unit.packages.get(job.package_id)
    return JobOut.of(job, unit.slides.get(job.slide_id), package)


@router.get("/jobs", dependencies=[LOOK])
def jobs(
    parts: ServicesDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Id | None = None,
    slide: Id | None = None,
    state: JobState | None = None,
) -> JobPage:
    """Jobs, newest first; ``slide`` (an id) keeps those of one slide."""
    with parts.backend.database.read() as unit:
        found = unit.jobs.page(limit, before, slide, principal.tenant, state)
        items = [_out(unit, job) for job in found]
    return JobPage(items=items, next=found[-1].id if len(found) == limit else None)


@router.get("/jobs/{job_id}", dependencies=[LOOK])
def job(job_id: str, parts: ServicesDep, principal: PrincipalDep) -> JobOut:
    """One job."""
    with parts.backend.database.read() as unit:
        return _out(unit, unit.jobs.get(job_id, principal.tenant))


@router.delete(
    "/jobs/{job_id}",
    status_code=202,
    response_model=JobOut,
    responses=problems(409),
    dependencies=[require(Role.INTEGRATOR, action="job.cancel")],
)
def cancel(job_id: str, parts: ServicesDep, principal: PrincipalDep, request: Request) -> Response:
    """Asks for the job's end; what it has written so far is removed."""
    job = parts.submitter.cancel(job_id, principal.tenant, trail_of(request))
    with parts.backend.database.read() as unit:
        return JSONResponse(_out(unit, job).model_dump(mode="json"), 202)


@router.post(
    "/jobs/{job_id}/replay",
    status_code=202,
    response_model=JobOut,
    responses=problems(409),
    dependencies=[require(Role.OPERATOR, action="job.replay")],
)
def replay(job_id: str, parts: ServicesDep, principal: PrincipalDep, request: Request) -> Response:
    """Queues a failed job again, from its beginning."""
    job = parts.submitter.replay(job_id, principal.tenant, trail_of(request))
    with parts.backend.database.read() as unit:
        return JSONResponse(_out(unit, job).model_dump(mode="json"), 202)


@router.get(
    "/jobs/{job_id}/events",
    dependencies=[LOOK],
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}},
)
async def events(
    job_id: str,
    parts: ServicesDep,
    principal: PrincipalDep,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventSourceResponse:
    """The job's log as server-sent events, from ``Last-Event-ID`` on, and between its lines ``progress``
    without an id whenever patches were done; ends with the job."""
    if last_event_id and not last_event_id.isdecimal():
        raise InputError("Last-Event-ID is a number")
    await to_thread.run_sync(_look, parts, job_id, 0, principal.tenant)
    return EventSourceResponse(_follow(parts, job_id, int(last_event_id or 0), principal.tenant))


def _look(parts: Services, job_id: str, after: int, tenant: str) -> tuple[list[JobEvent], JobRecord]:
    with parts.backend.database.read() as unit:
        job = unit.jobs.get(job_id, tenant)
        return unit.jobs.events(job_id, after), job


async def _follow(parts: Services, job_id: str, after: int, tenant: str) -> AsyncIterator[ServerSentEvent]:
    told = None
    while True:
        found, job = await to_thread.run_sync(_look, parts, job_id, after, tenant)
        for event in found:
            data = json.dumps({**event.data, "at": event.at.isoformat()})
            yield ServerSentEvent(data, event=event.kind, id=str(event.id))
            after = event.id
            if event.kind == PROGRESS:
                told = event.data["done"], event.data["total"]
        if job.state.terminal and not found:
            return
        # Between two lines of the log, which has one per finished shard; without an id, because it is no
        # place in the log that one could come back to.
        if job.state is JobState.RUNNING and (job.done, job.total) != told and job.total:
            told = job.done, job.total
            at = datetime.now(UTC).isoformat()
            data = json.dumps({"done": job.done, "total": job.total, "at": at})
            yield ServerSentEvent(data, event=PROGRESS)
        await sleep(0 if found else POLL_S)
