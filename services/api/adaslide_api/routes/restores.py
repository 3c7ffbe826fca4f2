"""A package out as a file: asked for as a job, fetched from it."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from adaslide.adapters.workspace import EXPORT_KEY
from adaslide.domain.access import Role
from adaslide.domain.errors import InputError, NotFound
from adaslide.domain.job import JobState
from adaslide.ports.jobs import JobRecord, PackageRecord, RestoreRequest, SlideRecord
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import PackageDep, ServicesDep
from adaslide_api.policy import USE_HEADER, AskedDep
from adaslide_api.problems import problems
from adaslide_api.schemas import JobOut, RestoreBody
from adaslide_api.stored import object_response, object_responses
from adaslide_api.trail import Trail, trail_of
from adaslide_api.wiring import Services

router = APIRouter(tags=["restoration"])

JOB_RETRY_AFTER_S = 2
READ = require(Role.VIEWER, Role.INTEGRATOR, action="result.read", once=True)


@router.post(
    "/slides/{key}/restore",
    dependencies=[require(Role.VIEWER, Role.INTEGRATOR, action="slide.restore")],
    status_code=202,
    response_model=JobOut,
    responses={200: {"model": JobOut, "description": "The file exists already"}, **problems(409)},
)
async def restore(
    package: PackageDep,
    request: Request,
    parts: ServicesDep,
    asked: AskedDep,
    body: RestoreBody | None = None,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Makes a job that writes the package out as one TIFF pyramid. The same request again finds the same
    job, as long as its file is kept."""
    body = body or RestoreBody()
    if body.callback_url is not None:
        parts.callbacks.checked(body.callback_url)
    package.restoration.size_at(1 << body.level)  # refused now rather than by the job
    if body.format == "original" and body.level:
        raise InputError("the source's own tiles are those of level 0")
    await parts.restored.check_file(package.record, body.level, asked)
    wanted = RestoreRequest(package.record.id, body.format, body.level)
    slide, job = await to_thread.run_sync(
        _submit, parts, package.record, wanted, idempotency_key, body.callback_url, trail_of(request)
    )
    headers = {"Location": f"/jobs/{job.id}"}
    if not job.state.terminal:
        headers["Retry-After"] = str(JOB_RETRY_AFTER_S)
    status = 200 if job.state is JobState.SUCCEEDED else 202
    return JSONResponse(JobOut.of(job, slide).model_dump(mode="json"), status, headers)


def _submit(
    parts: Services,
    package: PackageRecord,
    wanted: RestoreRequest,
    key: str | None,
    callback_url: str | None,
    trail: Trail,
) -> tuple[SlideRecord, JobRecord]:
    with parts.backend.database.read() as unit:
        slide = unit.slides.get(package.slide_id)
    return slide, parts.submitter.restore(slide, wanted, key, callback_url, trail)


@router.head("/jobs/{job_id}/result", dependencies=[READ], response_class=Response, include_in_schema=False)
@router.get(
    "/jobs/{job_id}/result",
    dependencies=[READ],
    response_class=Response,
    responses=object_responses("image/tiff"),
)
async def result(
    job_id: str, request: Request, parts: ServicesDep, principal: PrincipalDep, asked: AskedDep
) -> Response:
    """The file that the job restored, as long as it is kept. ``Range`` is honoured."""
    job = await to_thread.run_sync(_job, parts, job_id, principal.tenant)
    if job.result is None:
        raise NotFound("the job has no result, or none any more")
    parts.restored.check_result(job, asked)
    return object_response(
        request,
        parts.backend.workspace.export(job.id, job.result["token"]),
        EXPORT_KEY,
        job.result["bytes"],
        tag=f'"{job.result["sha256"]}"',
        headers={
            "Content-Disposition": f'attachment; filename="{job.id}.tif"',
            "Cache-Control": "private, no-store",
            "Vary": USE_HEADER,
        },
        media_type="image/tiff",
    )


def _job(parts: Services, job_id: str, tenant: str) -> JobRecord:
    with parts.backend.database.read() as unit:
        return unit.jobs.get(job_id, tenant)
