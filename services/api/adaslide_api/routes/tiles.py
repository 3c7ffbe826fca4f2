"""DeepZoom: the descriptor and its tiles."""

import hashlib
import re
import time
from functools import cache
from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from adaslide.addressing.deepzoom import TileAddress
from adaslide.domain.access import Role
from adaslide.domain.errors import NotFound, RegionOutOfRange
from adaslide_api.access import require
from adaslide_api.deps import PackageDep, ServicesDep
from adaslide_api.images import ENCODERS, TILE_FORMATS
from adaslide_api.packages import OpenPackage, Tile
from adaslide_api.policy import USE_HEADER, AskedDep, unrestored

router = APIRouter(tags=["tiles"])

SEE = require(Role.VIEWER, tile_token=True)
YEAR_S, MINUTE_S = 31_536_000, 60
_TILE = re.compile(rf"(\d{{1,9}})_(\d{{1,9}})\.({'|'.join(TILE_FORMATS)})", re.ASCII)


def cache_headers(request: Request, tag: str) -> dict[str, str]:
    """A package never changes. A URL that does not name one may mean another package soon."""
    age = YEAR_S if "package" in request.query_params else MINUTE_S
    return {"ETag": tag, "Cache-Control": f"private, max-age={age}, immutable", "Vary": USE_HEADER}


@cache
def _software() -> tuple[str, ...]:
    """Versions of what turns pixels into bytes: another encoder, another entity."""
    return tuple(version(name) for name in ("adaslide", "imagecodecs", "simplejpeg"))


def make_tag(package: OpenPackage, *parts: object) -> str:
    """A strong entity tag: the same package, address and software give the same bytes."""
    text = "/".join(map(str, (package.record.id, *_software(), *parts)))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def not_modified(request: Request, tag: str) -> bool:
    """Whether ``If-None-Match`` holds the tag."""
    given = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    return tag in given or "*" in given


@router.get("/slides/{key}.dzi", dependencies=[SEE], response_class=Response)
def descriptor(package: PackageDep, request: Request) -> Response:
    """The DeepZoom descriptor; tiles are the package's patches, without overlap."""
    tag = make_tag(package, "dzi")
    body = package.deepzoom.descriptor("jpg")
    return Response(body, media_type="application/xml", headers=cache_headers(request, tag))


@router.get(
    "/slides/{key}_files/{level}/{name}",
    dependencies=[SEE],
    response_class=Response,
    responses={200: {"content": {ENCODERS[suffix][0]: {} for suffix in TILE_FORMATS}}},
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
    tag = make_tag(package, "tile", level, col, row, suffix, *(["preview"] if preview else []))
    headers = cache_headers(request, tag)
    if not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    cached = parts.tiles.get(tag)
    if cached is None:
        made, timing = await parts.decode.run(_render, package, address, suffix, preview=preview)
        parts.tiles.put(tag, made)
    else:
        made, timing = cached, "cache"
    headers |= {**made.headers, "Server-Timing": timing}
    return Response(made.data, media_type=made.media_type, headers=headers)


def _address(package: OpenPackage, level: int, col: int, row: int) -> TileAddress:
    try:
        return package.deepzoom.address(level, col, row)
    except RegionOutOfRange:
        raise NotFound("no such tile") from None


def _render(package: OpenPackage, address: TileAddress, suffix: str, *, preview: bool) -> tuple[Tile, str]:
    started = time.perf_counter()
    restored = (
        unrestored(package.restoration, address.region)
        if preview
        else package.restoration.read(address.region, address.downsample)
    )
    decoded = time.perf_counter()
    made = Tile.of(restored, suffix)
    took = 1000 * (decoded - started), 1000 * (time.perf_counter() - decoded)
    return made, f"decode;dur={took[0]:.1f}, encode;dur={took[1]:.1f}"
