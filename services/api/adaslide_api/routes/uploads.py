"""Uploads that can be taken up again: tus 1.0.0 with creation, termination and expiration."""

from datetime import UTC
from email.utils import format_datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Request, Response

from adaslide.domain.access import Role
from adaslide.domain.errors import Conflict, MediaTypeUnsupported
from adaslide.ports.uploads import UploadRecord
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import ServicesDep
from adaslide_api.problems import problems
from adaslide_api.trail import trail_of
from adaslide_api.tus import EXTENSIONS, MEDIA_TYPE, PATH, TUS, VERSION, parse_metadata
from adaslide_api.upload import source_name

router = APIRouter(tags=["uploads"])

UPLOAD = f"{PATH}/{{upload_id}}"
LOOK = require(Role.INTEGRATOR)
_TEXT = {"schema": {"type": "string"}}


def _answers(status: int, *names: str) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route that tells these headers."""
    headers = dict.fromkeys(("Tus-Resumable", *names), _TEXT)
    return {status: {"headers": headers}}


@router.options(
    PATH,
    dependencies=[LOOK],
    status_code=204,
    response_class=Response,
    responses=_answers(204, "Tus-Version", "Tus-Extension", "Tus-Max-Size"),
)
def discover(parts: ServicesDep) -> Response:
    """What is spoken here."""
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(parts.settings.limits.upload_bytes),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    PATH,
    dependencies=[require(Role.INTEGRATOR, action="upload.create"), TUS],
    status_code=201,
    response_class=Response,
    responses=_answers(201, "Location", "Upload-Expires") | problems(412, 413),
)
async def create(
    request: Request,
    parts: ServicesDep,
    principal: PrincipalDep,
    upload_length: Annotated[int, Header(ge=1, description="Bytes in all")],
    upload_metadata: Annotated[
        str, Header(max_length=4096, description="``filename``, of which the suffix is kept")
    ] = "",
) -> Response:
    """Begins an upload. Its file's bytes follow by PATCH."""
    name = source_name(parse_metadata(upload_metadata).get("filename", ""))
    trail = trail_of(request)
    upload = await to_thread.run_sync(parts.uploads.create, principal.tenant, name, upload_length, trail)
    headers = {"Location": f"{PATH}/{upload.id}", **_expires(upload)}
    return Response(status_code=201, headers=headers)


@router.head(
    UPLOAD,
    dependencies=[LOOK, TUS],
    response_class=Response,
    responses=_answers(200, "Upload-Offset", "Upload-Length", "Upload-Expires") | problems(412),
)
def look(upload_id: str, parts: ServicesDep, principal: PrincipalDep) -> Response:
    """How far it has come: where the next PATCH begins."""
    upload = parts.uploads.find(upload_id, principal.tenant)
    length = {"Upload-Length": str(upload.length), "Cache-Control": "no-store"}
    return Response(headers=length | _offset(upload))


@router.patch(
    UPLOAD,
    dependencies=[require(Role.INTEGRATOR, action="upload.receive", once=True), TUS],
    status_code=204,
    response_class=Response,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses=_answers(204, "Upload-Offset", "Upload-Expires") | problems(409, 412, 415),
)
async def receive(
    upload_id: str,
    request: Request,
    parts: ServicesDep,
    principal: PrincipalDep,
    upload_offset: Annotated[int, Header(ge=0, description="Where these bytes begin")],
) -> Response:
    """The next bytes. What was read before the connection broke is kept."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != MEDIA_TYPE:
        raise MediaTypeUnsupported(f"the bytes of an upload are {MEDIA_TYPE}")
    upload = await to_thread.run_sync(parts.uploads.find, upload_id, principal.tenant)
    if upload.received != upload_offset:
        raise Conflict("the upload has another offset: ask with HEAD")
    upload = await parts.uploads.receive(upload, request.stream())
    return Response(status_code=204, headers=_offset(upload))


@router.delete(
    UPLOAD,
    dependencies=[require(Role.INTEGRATOR, action="upload.remove"), TUS],
    status_code=204,
    response_class=Response,
    responses=_answers(204) | problems(409, 412),
)
def remove(upload_id: str, parts: ServicesDep, principal: PrincipalDep, request: Request) -> Response:
    """Gives the upload up: what came of it is removed."""
    parts.uploads.remove(upload_id, principal.tenant, trail_of(request))
    return Response(status_code=204)


def _offset(upload: UploadRecord) -> dict[str, str]:
    return {"Upload-Offset": str(upload.received), **_expires(upload)}


def _expires(upload: UploadRecord) -> dict[str, str]:
    return {"Upload-Expires": format_datetime(upload.expires_at.astimezone(UTC), usegmt=True)}
