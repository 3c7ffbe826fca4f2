"""Legal holds, and the removal of packages that none is on."""

from fastapi import APIRouter, Request

from adaslide.domain.access import Role
from adaslide_api.access import PrincipalDep, require
from adaslide_api.deps import ServicesDep
from adaslide_api.problems import problems
from adaslide_api.schemas import HoldBody, PackageOut, SlideOut
from adaslide_api.trail import trail_of

router = APIRouter(tags=["retention"])

SLIDE = "/slides/{key}/hold"
PACKAGE = "/slides/{key}/packages/{package_id}"
SET = require(Role.APPROVER, action="hold.set")
LIFT = require(Role.APPROVER, action="hold.lift")


@router.put(SLIDE, dependencies=[SET])
def hold_slide(
    key: str, body: HoldBody, parts: ServicesDep, principal: PrincipalDep, request: Request
) -> SlideOut:
    """Forbids the removal of the slide and of everything made of it."""
    slide = parts.retention.hold_slide(key, principal, body.reason, trail_of(request))
    with parts.backend.database.read() as unit:
        return SlideOut.of(slide, unit.packages.of_slide(slide.id))


@router.delete(SLIDE, dependencies=[LIFT], status_code=204)
def lift_slide(key: str, parts: ServicesDep, principal: PrincipalDep, request: Request) -> None:
    """Lifts the slide's hold; without one nothing happens."""
    parts.retention.hold_slide(key, principal, None, trail_of(request))


@router.put(f"{PACKAGE}/hold", dependencies=[SET])
def hold_package(
    key: str,
    package_id: str,
    body: HoldBody,
    parts: ServicesDep,
    principal: PrincipalDep,
    request: Request,
) -> PackageOut:
    """Forbids the package's removal."""
    trail = trail_of(request)
    return PackageOut.of(parts.retention.hold_package(key, package_id, principal, body.reason, trail))


@router.delete(f"{PACKAGE}/hold", dependencies=[LIFT], status_code=204)
def lift_package(
    key: str, package_id: str, parts: ServicesDep, principal: PrincipalDep, request: Request
) -> None:
    """Lifts the package's hold; one on its slide stays."""
    parts.retention.hold_package(key, package_id, principal, None, trail_of(request))


@router.delete(
    PACKAGE,
    dependencies=[require(Role.OPERATOR, action="package.remove")],
    status_code=204,
    responses=problems(409),
)
def remove(key: str, package_id: str, parts: ServicesDep, principal: PrincipalDep, request: Request) -> None:
    """Removes the package. Pixels that another slide of the same bytes shares stay for that slide."""
    parts.retention.remove_package(key, package_id, principal, trail_of(request))
