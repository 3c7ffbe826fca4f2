"""The package itself: its Zarr keys over HTTP, so that any Zarr reader can open it from afar."""

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from adaslide.domain.access import Role
from adaslide.domain.errors import InputError, NotFound
from adaslide_api.access import require
from adaslide_api.deps import PackageDep
from adaslide_api.entity_tags import cache_headers, make_tag
from adaslide_api.stored import object_response, object_responses

router = APIRouter(tags=["package"])

READ = require(Role.VIEWER, action="package.read", once=True)


@router.head(
    "/slides/{key}/package/{path:path}", dependencies=[READ], response_class=Response, include_in_schema=False
)
@router.get(
    "/slides/{key}/package/{path:path}",
    dependencies=[READ],
    response_class=Response,
    responses=object_responses("application/json", "application/octet-stream"),
)
async def package_object(path: str, package: PackageDep, request: Request) -> Response:
    """One object of the package. ``Range`` is honoured."""
    try:
        size = await to_thread.run_sync(package.store.size, path)
    except InputError:
        size = None
    if size is None:
        raise NotFound("the package has no such object")
    tag = make_tag(package, "object", path)
    return object_response(
        request,
        package.store,
        path,
        size,
        tag=tag,
        headers=cache_headers(request, tag),
        media_type="application/json" if path.endswith(".json") else "application/octet-stream",
    )
