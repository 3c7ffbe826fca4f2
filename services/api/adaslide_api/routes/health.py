"""Whether the service lives, and whether it can work."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from adaslide.domain.errors import Unavailable
from adaslide.observability.readiness import Outcome, Readiness
from adaslide_api.errors import problem

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
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
