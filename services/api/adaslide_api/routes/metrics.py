"""Metrics, for Prometheus."""

from fastapi import APIRouter, Request, Response

from adaslide.domain.access import Role
from adaslide.observability.metrics import CONTENT_TYPE, Metrics
from adaslide_api.access import require

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    dependencies=[require(Role.OPERATOR)],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """What this process counted, and the state of the queue, in Prometheus's text format."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type=CONTENT_TYPE)
