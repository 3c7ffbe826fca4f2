"""Tile tokens: for images, which cannot send a credential."""

from datetime import UTC, datetime

from fastapi import APIRouter
from pydantic import BaseModel

from adaslide.domain.access import Principal, Role
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import PackageId, ServicesDep
from adaslide_api.tile_tokens import TileGrant
from adaslide_api.wiring import Services

router = APIRouter(tags=["tiles"])


class TileTokenOut(BaseModel):
    """``?token=`` for the descriptor, tiles, regions, maps and patches of ``slide``, GET only."""

    token: str
    expires_at: datetime
    slide: str
    package: str


@router.post("/slides/{key}/tile-token", dependencies=[require(Role.VIEWER)])
async def tile_token(
    key: str, parts: ServicesDep, principal: PrincipalDep, package_id: PackageId = None
) -> TileTokenOut:
    """A token for the slide's tiles, of one package or (``*``) of all. URLs with it name the slide's id."""
    grant = await parts.lookup.run(_grant, parts, principal, key, package_id)
    return TileTokenOut(
        token=parts.tile_tokens.sign(grant),
        expires_at=grant.expires_at,
        slide=grant.slide,
        package=grant.package,
    )


def _grant(parts: Services, principal: Principal, key: str, package_id: str | None) -> TileGrant:
    if package_id is None:
        with parts.backend.database.read() as unit:
            slide_id = unit.slides.find(key, principal.tenant).id
    else:
        slide_id = parts.packages.find(key, package_id, principal.tenant).slide_id
    return parts.tile_tokens.grant(principal, slide_id, package_id, datetime.now(UTC))
