"""DeepZoom: the descriptor and its tiles."""

import re
from functools import partial

from fastapi import APIRouter, Request, Response

from adaslide.domain.errors import NotFound, RegionOutOfRange
from adaslide_api.deps import PackageDep, ServicesDep
from adaslide_api.entity_tags import cache_headers, make_tag, not_modified, tile_tag
from adaslide_api.images import ENCODERS, TILE_FORMATS
from adaslide_api.serving.patience import CLIENT_GONE, client_of, while_wanted
from adaslide_api.serving.prefetch import Candidate

router = APIRouter(tags=["tiles"])

_TILE = re.compile(rf"(\d{{1,9}})_(\d{{1,9}})\.({'|'.join(TILE_FORMATS)})", re.ASCII)


@router.get("/slides/{key}.dzi", response_class=Response)
def descriptor(package: PackageDep, request: Request) -> Response:
    """The DeepZoom descriptor; tiles are the package's patches, without overlap."""
    tag = make_tag(package, "dzi")
    body = package.deepzoom.descriptor("jpg")
    return Response(body, media_type="application/xml", headers=cache_headers(request, tag))


@router.get(
    "/slides/{key}_files/{level}/{name}",
    response_class=Response,
    responses={200: {"content": {ENCODERS[suffix][0]: {} for suffix in TILE_FORMATS}}},
)
async def tile(level: int, name: str, package: PackageDep, parts: ServicesDep, request: Request) -> Response:
    """The tile ``{col}_{row}.{jpg|webp|avif|png}`` of a DeepZoom level."""
    match = _TILE.fullmatch(name)
    if match is None:
        raise NotFound("no such tile")
    col, row, suffix = int(match[1]), int(match[2]), match[3]
    try:
        address = package.deepzoom.address(level, col, row)
    except RegionOutOfRange:
        raise NotFound("no such tile") from None
    tag = tile_tag(package, level, col, row, suffix)
    headers = cache_headers(request, tag)
    if not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    read = partial(package.restoration.begin, address.region, address.downsample)
    made = parts.renderer.tile(package, read, suffix, tag, client_of(request))
    served = await while_wanted(request, made, parts.settings.limits.deadline_s)
    if served is None:
        return Response(status_code=CLIENT_GONE)
    if parts.prefetcher is not None:
        parts.prefetcher.served(Candidate(package, level, col, row, suffix))
    headers |= {**served.tile.headers, "Server-Timing": served.timing.header}
    return Response(served.tile.data, media_type=served.tile.media_type, headers=headers)
