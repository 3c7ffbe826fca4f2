"""Objects of the store as answers, with ``Range``."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from adaslide.ports.objects import ReadStore
from adaslide_api.entity_tags import BYTES, NOT_MODIFIED, not_modified
from adaslide_api.errors import problem
from adaslide_api.problems import problems
from adaslide_api.ranges import ByteRange, Unsatisfiable, parse_range

BLOCK_BYTES = 1 << 20
JSON = "application/json"


def object_responses(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """``responses=`` of a route that answers with `object_response`."""
    content = {
        media_type: {"schema": {"type": "object"} if media_type == JSON else BYTES}
        for media_type in media_types
    }
    parts = {"description": "A part, as Range asked", "content": content}
    return {200: {"content": content}, 206: parts, **NOT_MODIFIED, **problems(416)}


def object_response(
    request: Request,
    store: ReadStore,
    key: str,
    size: int,
    *,
    tag: str,
    headers: Mapping[str, str],
    media_type: str,
) -> Response:
    """The object ``key`` of ``size`` bytes, or the part that is asked for; ``tag`` is its entity tag."""
    headers = {**headers, "ETag": tag, "Accept-Ranges": "bytes"}
    if not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
    try:
        part = parse_range(wanted, size)
    except Unsatisfiable:
        response = problem(416, "range-not-satisfiable", "the object has no such bytes")
        response.headers["Content-Range"] = f"bytes */{size}"
        return response
    span = part or ByteRange(0, size)
    headers["Content-Length"] = str(span.length)
    if part:
        headers["Content-Range"] = f"bytes {span.start}-{span.start + span.length - 1}/{size}"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status_code=status, media_type=media_type, headers=headers)
    return StreamingResponse(_blocks(store, key, span), status, headers, media_type)


def _blocks(store: ReadStore, key: str, span: ByteRange) -> Iterator[bytes]:
    end = span.start + span.length
    for start in range(span.start, end, BLOCK_BYTES):
        yield store.get_range(key, start, min(BLOCK_BYTES, end - start))
