"""The audit log, for auditors: of their own tenant."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel

from adaslide.domain.access import Role
from adaslide.domain.audit import AuditRecord, Outcome, canonical
from adaslide.ports.jobs import Database
from adaslide.ports.security import AuditFilter
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import ServicesDep

router = APIRouter(tags=["audit"])

EXPORT_PAGE = 500


class AuditOut(BaseModel):
    """One record. ``seq`` counts over all tenants."""

    seq: int
    at: datetime
    tenant: str
    principal: str
    action: str
    outcome: Outcome
    objects: dict[str, str]
    previous: str
    hash: str


class AuditPage(BaseModel):
    """Records, newest first. ``next`` goes into ``?before=``; null ends the list."""

    items: list[AuditOut]
    next: int | None


def _wanted(
    principal: PrincipalDep,
    by: Annotated[str | None, Query(alias="principal", max_length=64)] = None,
    action: Annotated[str | None, Query(max_length=128)] = None,
    outcome: Outcome | None = None,
    object_id: Annotated[str | None, Query(alias="object", max_length=26)] = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> AuditFilter:
    return AuditFilter(principal.tenant, by, action, outcome, object_id, since, until)


WantedDep = Annotated[AuditFilter, Depends(_wanted)]


def _out(record: AuditRecord) -> AuditOut:
    return AuditOut(**record.as_dict())


@router.get("/audit", dependencies=[require(Role.AUDITOR)])
def audit(
    parts: ServicesDep,
    wanted: WantedDep,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[int | None, Query(ge=1)] = None,
) -> AuditPage:
    """Records of the caller's tenant; ``object`` keeps those that name an id."""
    with parts.backend.database.read() as unit:
        found = unit.audit.newest(wanted, limit, before)
    return AuditPage(items=[_out(r) for r in found], next=found[-1].seq if len(found) == limit else None)


@router.get(
    "/audit/export",
    dependencies=[require(Role.AUDITOR, action="audit.export")],
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
def export(parts: ServicesDep, wanted: WantedDep) -> StreamingResponse:
    """The same as JSON lines, oldest first: each line without ``hash`` is what its hash covers."""
    return StreamingResponse(_lines(parts.backend.database, wanted), media_type="application/x-ndjson")


def _lines(database: Database, wanted: AuditFilter) -> Iterator[str]:
    after: int | None = 0
    while after is not None:
        with database.read() as unit:
            found = unit.audit.oldest(wanted, EXPORT_PAGE, after)
        yield "".join(f"{_line(record)}\n" for record in found)
        after = found[-1].seq if len(found) == EXPORT_PAGE else None


def _line(record: AuditRecord) -> str:
    body: dict[str, Any] = record.as_dict()
    return canonical(body)
