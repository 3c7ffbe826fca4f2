"""Parts of a slide that are no tiles: regions, maps, single patches."""

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from adaslide.domain.decision import PatchFlag
from adaslide.domain.errors import NotFound, RegionOutOfRange, SlideTooLarge
from adaslide.domain.geometry import PatchIndex, Region
from adaslide.domain.rung import PROVENANCE, RESTORED_RUNGS, Rung
from adaslide.package.envelope import Envelope
from adaslide.pipeline.made_with import restorer_of
from adaslide.pipeline.maps import LAYERS, render_map
from adaslide_api.deps import PackageDep, ServicesDep
from adaslide_api.entity_tags import BYTES, NOT_MODIFIED, cache_headers, make_tag, not_modified
from adaslide_api.images import ENCODERS, REGION_FORMATS, png
from adaslide_api.packages import OpenPackage
from adaslide_api.policy import AskedDep, reader
from adaslide_api.problems import problems
from adaslide_api.routes.tiles import SEE
from adaslide_api.schemas import PatchOut, PatchWord
from adaslide_api.serving.patience import CLIENT_GONE, client_of, while_wanted

router = APIRouter(tags=["regions"])

MAP_SCALE = 16
WORDS: dict[PatchFlag, PatchWord] = {
    PatchFlag.CORRUPT: "corrupt",
    PatchFlag.DEMOTED: "demoted",
    PatchFlag.PROMOTED: "promoted",
    PatchFlag.PROTECTED: "protected",
    PatchFlag.UNKNOWN_STAIN: "unknown_stain",
    PatchFlag.UNKNOWN_FOCUS: "unknown_focus",
}
Side = Annotated[int, Query(ge=0, le=10**7)]


@router.get(
    "/slides/{key}/region",
    dependencies=[SEE],
    response_class=Response,
    responses={
        200: {"content": {ENCODERS[suffix][0]: {"schema": BYTES} for suffix in REGION_FORMATS.values()}}
    }
    | NOT_MODIFIED
    | problems(413, 504),
)
async def region(
    package: PackageDep,
    parts: ServicesDep,
    request: Request,
    asked: AskedDep,
    x: Side,
    y: Side,
    w: Annotated[int, Query(ge=1, le=10**7)],
    h: Annotated[int, Query(ge=1, le=10**7)],
    level: Annotated[int, Query(ge=0, le=30, description="0 is full resolution; each level halves it")] = 0,
    format: Literal["png", "jpeg", "npy"] = "png",
) -> Response:
    """Restored pixels of any region, in pixels of its level. png and npy ((h, w, 3) uint8) are exact."""
    if w * h > parts.settings.limits.region_pixels:
        raise SlideTooLarge(f"a region has at most {parts.settings.limits.region_pixels} pixels")
    where = Region(x, y, w, h)
    if not where.inside(package.restoration.size_at(1 << level)):
        raise RegionOutOfRange("the region leaves the slide")
    preview = await parts.restored.previewed(package, where, 1 << level, asked)
    tag = make_tag(package, "region", level, x, y, w, h, format, *(["preview"] if preview else []))
    headers = cache_headers(request, tag)
    if not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    read = reader(package.restoration, where, 1 << level, preview=preview)
    made = parts.renderer.region(package, read, REGION_FORMATS[format], tag, client_of(request))
    served = await while_wanted(request, made, parts.settings.limits.deadline_s)
    if served is None:
        return Response(status_code=CLIENT_GONE)
    headers |= {**served.tile.headers, "Server-Timing": served.timing.header}
    return Response(served.tile.data, media_type=served.tile.media_type, headers=headers)


@router.get(
    "/slides/{key}/maps/{layer}.png",
    dependencies=[SEE],
    response_class=Response,
    responses={200: {"content": {"image/png": {"schema": BYTES}}}} | NOT_MODIFIED | problems(413),
)
async def map_image(
    layer: str,
    package: PackageDep,
    parts: ServicesDep,
    request: Request,
    scale: Annotated[int, Query(ge=1, le=64, description="Pixels along a patch's side")] = MAP_SCALE,
) -> Response:
    """A map of the package as a picture, one square per patch; the last column and row may reach
    beyond the slide. Transparent where nothing was measured."""
    if layer not in LAYERS:
        raise NotFound(f"no such map; there are {', '.join(LAYERS)}")
    if len(package.reader.grid) * scale**2 > parts.settings.limits.region_pixels:
        raise SlideTooLarge("the map is too large at this scale")
    tag = make_tag(package, "map", layer, scale)
    headers = cache_headers(request, tag)
    if not_modified(request, tag):
        return Response(status_code=304, headers=headers)
    data = await parts.decode.run(lambda: png(render_map(package.reader.maps, layer, scale)))
    return Response(data, media_type="image/png", headers=headers)


@router.get("/slides/{key}/patches/{row}/{col}", dependencies=[SEE])
async def patch(row: int, col: int, package: PackageDep, parts: ServicesDep) -> PatchOut:
    """What was decided for one patch, and what was measured of it."""
    return await parts.decode.run(patch_facts, package, row, col)


def patch_facts(package: OpenPackage, row: int, col: int) -> PatchOut:
    """Raises `RegionOutOfRange` outside the grid, `PackageError`."""
    grid, maps = package.reader.grid, package.reader.maps
    if not (0 <= row < grid.rows and 0 <= col < grid.cols):
        raise RegionOutOfRange(f"the grid has {grid.rows} rows and {grid.cols} columns")
    rung, tried = Rung(int(maps.decision["rung"][row, col])), int(maps.decision["measurements"][row, col])
    index = PatchIndex(row, col)
    measured = maps.fidelity(index).as_dict()
    return PatchOut(
        row=row,
        col=col,
        rung=rung.label,
        provenance=PROVENANCE[rung].value,
        bytes=int(maps.decision["bytes"][row, col]),
        source_bytes=int(maps.decision["source_bytes"][row, col]),
        restorer=_restorer(package, index) if rung in RESTORED_RUNGS else None,
        p_compress=_known(float(maps.decision["p_compress"][row, col])),
        flags=_flags(PatchFlag(int(maps.decision["flags"][row, col])), tried),
        measurements=tried,
        quality={name: _known(value) for name, value in measured.items()},
    )


def _known(value: float) -> float | None:
    """Four digits; None for NaN, which JSON does not have."""
    return round(value, 4) if np.isfinite(value) else None


def _restorer(package: OpenPackage, index: PatchIndex) -> str | None:
    payload = package.reader.payloads([index])[0]
    if payload is None:
        return None
    return restorer_of(Envelope.unpack(payload), package.reader.info.attributes)


def _flags(flags: PatchFlag, measurements: int) -> list[PatchWord]:
    """The bits as words. Glass and damaged patches are not proposed anything."""
    words: list[PatchWord] = [word for bit, word in WORDS.items() if flags & bit]
    moved = flags & (PatchFlag.CORRUPT | PatchFlag.DEMOTED | PatchFlag.PROMOTED)
    return words if moved or not measurements else ["proposed", *words]
