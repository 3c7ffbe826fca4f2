"""Whether the service lives, whether it can work, and what it can be asked."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from adaslide.domain.errors import Unavailable
from adaslide.observability.readiness import Outcome, Readiness
from adaslide_api.access import PUBLIC
from adaslide_api.errors import problem

router = APIRouter(tags=["health"])


@router.get("/healthz", dependencies=[PUBLIC])
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", dependencies=[PUBLIC])
def readyz(
    request: Request,
    exclude: Annotated[
        list[str] | None, Query(description="Parts that are not looked at", max_length=16)
    ] = None,
) -> JSONResponse:
    """Every part that the service needs works; else 503, which says the parts that do not."""
    readiness: Readiness = request.app.state.readiness
    checks = readiness.check(exclude or ())
    if all(outcome is Outcome.OK for outcome in checks.values()):
        return JSONResponse({"status": "ok", "checks": checks})
    return problem(503, Unavailable.code, "a part of the service does not work", checks=checks)


@router.get("/openapi.json", dependencies=[PUBLIC], include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """The service's description of itself."""
    described: dict[str, Any] = request.app.openapi()
    return described
