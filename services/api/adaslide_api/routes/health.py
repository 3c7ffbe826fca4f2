"""Whether the service lives, whether it can work, and what it can be asked."""

from typing import Any

from fastapi import APIRouter, Request

from adaslide.domain.errors import Unavailable
from adaslide_api.access import PUBLIC
from adaslide_api.deps import ServicesDep

router = APIRouter(tags=["health"])


@router.get("/healthz", dependencies=[PUBLIC])
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", dependencies=[PUBLIC])
def readyz(parts: ServicesDep, request: Request) -> dict[str, str]:
    """The database answers and the worker works; else 503."""
    parts.backend.database.ping()
    worker = request.app.state.worker
    if worker is not None and not worker.alive:
        raise Unavailable("the worker has stopped")
    return {"status": "ok"}


@router.get("/openapi.json", dependencies=[PUBLIC], include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """The service's description of itself."""
    described: dict[str, Any] = request.app.openapi()
    return described
