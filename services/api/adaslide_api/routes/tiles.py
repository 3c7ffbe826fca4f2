"""DeepZoom: the descriptor and its tiles."""

import re

from fastapi import APIRouter, Request, Response

from adaslide.addressing.deepzoom import TileAddress
from adaslide.domain.access import Role
from adaslide.domain.errors import NotFound, RegionOutOfRange
from adaslide_api.access import require
from adaslide_api.deps import PackageDep, ServicesDep
from adaslide_api.entity_tags import BYTES, NOT_MODIFIED, cache_headers, make_tag, not_modified, tile_tag
from adaslide_api.images import ENCODERS, TILE_FORMATS
from adaslide_api.packages import OpenPackage
from adaslide_api.policy import AskedDep, reader
from adaslide_api.problems import problems
from adaslide_api.serving.patience import CLIENT_GONE, client_of, while_wanted
from adaslide_api.serving.prefetch import Candidate

router = APIRouter(tags=["tiles"])

SEE = require(Role.VIEWER, tile_token=True)
_TILE = re.compile(rf"(\d{{1,9}})_(\d{{1,9}})\.({'|'.join(TILE_FORMATS)})", re.ASCII)


@router.get(
    "/slides/{key}.dzi",
    dependencies=[SEE],
    response_class=Response,
    responses={200: {"content": {"application/xml": {"schema": {"type": "string"}}}}},
)
def descriptor(package: PackageDep, request: Request) -> Response:
    """The DeepZoom descriptor; tiles are the package's patches, without overlap."""
    tag = make_tag(package, "dzi")
    body = package.deepzoom.descriptor("jpg")
    return Response(body, media_type="application/xml", headers=cache_headers(request, tag))


@router.get(
    "/slides/{key}_files/{level}/{name}",
    dependencies=[SEE],
    response_class=Response,
    responses={200: {"content": {ENCODERS[suffix][0]: {"schema": BYTES} for suffix in TILE_FORMATS}}}
    | NOT_MODIFIED
    | problems(413, 504),
)
async def tile(
    level: int, name: str, package: PackageDep, parts: ServicesDep, request: Request, asked: AskedDep
) -> Response:
    """The tile ``{col}_{row}.{jpg|webp|avif|png}`` of a DeepZoom level."""
    match = _TILE.fullmatch(name)
    if match is None:
        raise NotFound("no such tile")
    col, row, suffix = int(match[1]), int(match[2]), match[3]
    address = _address(package, level, col, row)
    preview = await parts.restored.previewed(package, address.region, address.downsample, asked)
    tag = tile_tag(package, level, col, row, suffix, preview=preview)
    headers = cache_headers(request, tag)
    if not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    read = reader(package.restoration, address.region, address.downsample, preview=preview)
    made = parts.renderer.tile(package, read, suffix, tag, client_of(request))
    served = await while_wanted(request, made, parts.settings.limits.deadline_s)
    if served is None:
        return Response(status_code=CLIENT_GONE)
    if parts.prefetcher is not None and not preview:
        parts.prefetcher.served(Candidate(package, level, col, row, suffix))
    headers |= {**served.tile.headers, "Server-Timing": served.timing.header}
    return Response(served.tile.data, media_type=served.tile.media_type, headers=headers)


def _address(package: OpenPackage, level: int, col: int, row: int) -> TileAddress:
    try:
        return package.deepzoom.address(level, col, row)
    except RegionOutOfRange:
        raise NotFound("no such tile") from None
