"""Whether the service lives, and whether it can work."""

from fastapi import APIRouter, Request

from adaslide.domain.errors import Unavailable
from adaslide_api.deps import ServicesDep

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(parts: ServicesDep, request: Request) -> dict[str, str]:
    """The database answers and the worker works; else 503."""
    parts.backend.database.ping()
    worker = request.app.state.worker
    if worker is not None and not worker.alive:
        raise Unavailable("the worker has stopped")
    return {"status": "ok"}
