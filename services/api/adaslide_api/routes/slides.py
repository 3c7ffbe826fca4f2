"""Slides: register, list, look up, compress."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from adaslide.domain.access import Role
from adaslide.domain.errors import InputError, NotFound
from adaslide.domain.job import Urgency
from adaslide.ports.jobs import PackageRecord, SlideRecord
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import Id, ServicesDep
from adaslide_api.problems import problems
from adaslide_api.registration import LONGEST_ALIAS, checked_alias
from adaslide_api.schemas import CompressBody, JobOut, PackageOut, SlideOut, SlidePage, SourceBody
from adaslide_api.trail import Trail, trail_of
from adaslide_api.upload import receive_upload
from adaslide_api.wiring import Services

router = APIRouter(tags=["slides"])

JOB_RETRY_AFTER_S = 2
REGISTERS = "slide.register"
REGISTER = require(Role.INTEGRATOR, action=REGISTERS)
LOOK = require(Role.VIEWER, Role.INTEGRATOR)
UNREADABLE = problems(404, 409, 413, 415, 422)
_BODIES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": SourceBody.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
        },
    }
}


async def _register(
    request: Request, parts: Services, alias: str | None, tenant: str
) -> tuple[SlideRecord, bool]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _receive(request, parts, alias, tenant)
    try:
        source = SourceBody.model_validate_json(await request.body())
    except ValidationError:
        raise InputError('the body is an upload with a "file", or JSON like {"uri": "file:///..."}') from None
    trail = trail_of(request)
    return await parts.register.run(parts.registrar.register_uri, source.uri, alias, tenant, trail)


async def _receive(
    request: Request, parts: Services, alias: str | None, tenant: str
) -> tuple[SlideRecord, bool]:
    slide_id, folder = parts.registrar.new_folder()
    try:
        name = await receive_upload(request, folder)
        trail = trail_of(request)
        return await parts.register.run(parts.registrar.register_upload, slide_id, name, alias, tenant, trail)
    except BaseException:
        parts.registrar.discard(slide_id)
        raise


def _created(slide: SlideRecord, *, new: bool) -> JSONResponse:
    body = SlideOut.of(slide, []).model_dump(mode="json")
    return JSONResponse(body, 201 if new else 200, {"Location": f"/slides/{slide.id}"})


@router.post(
    "/slides",
    dependencies=[REGISTER],
    status_code=201,
    response_model=SlideOut,
    openapi_extra=_BODIES,
    responses=UNREADABLE,
)
async def register(request: Request, parts: ServicesDep, principal: PrincipalDep) -> Response:
    """Registers an upload (``multipart/form-data``, field ``file``) or a slide read in place."""
    slide, _ = await _register(request, parts, None, principal.tenant)
    trail_of(request).note(slide=slide.id)
    return _created(slide, new=True)


@router.put(
    "/slides/{key}",
    dependencies=[REGISTER],
    status_code=201,
    response_model=SlideOut,
    openapi_extra=_BODIES,
    responses={200: {"model": SlideOut, "description": "It has that name already"}, **UNREADABLE},
)
async def register_as(key: str, request: Request, parts: ServicesDep, principal: PrincipalDep) -> Response:
    """The same under the caller's own name. 200 when the same slide has that name already."""
    slide, new = await _register(request, parts, checked_alias(key), principal.tenant)
    trail_of(request).note(slide=slide.id)
    return _created(slide, new=new)


@router.get("/slides", dependencies=[LOOK])
def slides(
    parts: ServicesDep,
    principal: PrincipalDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    before: Id | None = None,
    sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="Of the file")] = None,
    alias: Annotated[str | None, Query(max_length=LONGEST_ALIAS, description="The whole name")] = None,
) -> SlidePage:
    """Registered slides, newest first."""
    with parts.backend.database.read() as unit:
        found = unit.slides.page(limit, before, principal.tenant, sha256, alias)
        items = [SlideOut.of(slide, unit.packages.of_slide(slide.id)) for slide in found]
    return SlidePage(items=items, next=found[-1].id if len(found) == limit else None)


@router.get("/slides/{key}", dependencies=[LOOK])
def slide(key: str, parts: ServicesDep, principal: PrincipalDep) -> SlideOut:
    """One slide, by id or by the caller's own name."""
    with parts.backend.database.read() as unit:
        found = unit.slides.find(key, principal.tenant)
        return SlideOut.of(found, unit.packages.of_slide(found.id))


@router.post(
    "/slides/{key}/compress",
    dependencies=[require(Role.INTEGRATOR, action="slide.compress")],
    status_code=202,
    response_model=JobOut,
    responses={200: {"model": PackageOut, "description": "The package exists already"}, **UNREADABLE},
)
async def compress(
    key: str,
    request: Request,
    parts: ServicesDep,
    principal: PrincipalDep,
    body: CompressBody | None = None,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> Response:
    """Makes a job. The same request again finds the same job, or its package."""
    body = body or CompressBody()
    if body.callback_url is not None:
        parts.callbacks.checked(body.callback_url)
    trail = trail_of(request)
    slide = await parts.register.run(_slide_to_compress, parts, principal.tenant, key, body.source, trail)
    urgency = Urgency[body.urgency.upper()]
    outcome = await parts.register.run(
        parts.submitter.submit, slide, body.request(), idempotency_key, urgency, body.callback_url, trail
    )
    if isinstance(outcome, PackageRecord):
        package = PackageOut.of(outcome)
        return JSONResponse(package.model_dump(mode="json"), 200, {"Location": f"/slides/{slide.id}"})
    headers = {"Location": f"/jobs/{outcome.id}", "Retry-After": str(JOB_RETRY_AFTER_S)}
    return JSONResponse(JobOut.of(outcome, slide).model_dump(mode="json"), 202, headers)


def _slide_to_compress(
    parts: Services, tenant: str, key: str, source: SourceBody | None, trail: Trail
) -> SlideRecord:
    try:
        with parts.backend.database.read() as unit:
            return unit.slides.find(key, tenant)
    except NotFound:
        if source is None:
            raise
    registration = trail.within(REGISTERS)
    return parts.registrar.register_uri(source.uri, checked_alias(key), tenant, registration)[0]
