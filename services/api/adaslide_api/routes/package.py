"""The package itself: its Zarr keys over HTTP, so that any Zarr reader can open it from afar."""

from collections.abc import Iterator

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from adaslide.domain.access import Role
from adaslide.domain.errors import InputError, NotFound
from adaslide.ports.objects import ReadStore
from adaslide_api.access import require
from adaslide_api.deps import PackageDep
from adaslide_api.entity_tags import cache_headers, make_tag, not_modified
from adaslide_api.errors import problem
from adaslide_api.ranges import ByteRange, Unsatisfiable, parse_range

router = APIRouter(tags=["package"])

BLOCK_BYTES = 1 << 20
READ = require(Role.VIEWER, action="package.read", once=True)


@router.head(
    "/slides/{key}/package/{path:path}", dependencies=[READ], response_class=Response, include_in_schema=False
)
@router.get("/slides/{key}/package/{path:path}", dependencies=[READ], response_class=Response)
async def package_object(path: str, package: PackageDep, request: Request) -> Response:
    """One object of the package. ``Range`` is honoured."""
    try:
        size = await to_thread.run_sync(package.store.size, path)
    except InputError:
        size = None
    if size is None:
        raise NotFound("the package has no such object")
    tag = make_tag(package, "object", path)
    headers = cache_headers(request, tag) | {"Accept-Ranges": "bytes"}
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
    kind = "application/json" if path.endswith(".json") else "application/octet-stream"
    status = 206 if part else 200
    if request.method == "HEAD":
        return Response(status_code=status, media_type=kind, headers=headers)
    return StreamingResponse(_blocks(package.store, path, span), status, headers, kind)


def _blocks(store: ReadStore, key: str, span: ByteRange) -> Iterator[bytes]:
    end = span.start + span.length
    for start in range(span.start, end, BLOCK_BYTES):
        yield store.get_range(key, start, min(BLOCK_BYTES, end - start))
