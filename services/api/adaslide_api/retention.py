"""What is kept and what may go: legal holds, and the removal of packages."""

from datetime import UTC, datetime
from typing import Any

from adaslide.domain.access import Principal
from adaslide.domain.errors import NotFound
from adaslide.ports.jobs import Database, PackageRecord, SlideRecord, UnitOfWork
from adaslide_api.trail import Trail


class Retention:
    """Holds and removals of a tenant's slides and packages. Every method raises `NotFound`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold_slide(self, key: str, principal: Principal, reason: str | None, trail: Trail) -> SlideRecord:
        """Forbids the removal of the slide and its packages; None allows it again."""
        with trail.change(self._database) as unit:
            slide = unit.slides.find(key, principal.tenant)
            trail.note(slide=slide.id)
            unit.slides.set_hold(slide.id, _hold(principal, reason))
        with self._database.read() as unit:
            return unit.slides.get(slide.id)

    def hold_package(
        self, key: str, package_id: str, principal: Principal, reason: str | None, trail: Trail
    ) -> PackageRecord:
        """The same for one package."""
        with trail.change(self._database) as unit:
            found = _package(unit, key, package_id, principal)
            trail.note(slide=found.slide_id)
            unit.packages.set_hold(found.id, _hold(principal, reason))
        with self._database.read() as unit:
            return unit.packages.get(found.id)

    def remove_package(self, key: str, package_id: str, principal: Principal, trail: Trail) -> None:
        """The package exists no more; a worker sweeps its objects. Raises `Held`."""
        with trail.change(self._database) as unit:
            found = _package(unit, key, package_id, principal)
            trail.note(slide=found.slide_id)
            unit.packages.remove(found.id)


def _hold(principal: Principal, reason: str | None) -> dict[str, Any] | None:
    if reason is None:
        return None
    return {"reason": reason, "by": principal.id, "at": datetime.now(UTC).isoformat()}


def _package(unit: UnitOfWork, key: str, package_id: str, principal: Principal) -> PackageRecord:
    slide = unit.slides.find(key, principal.tenant)
    package = unit.packages.get(package_id)
    if package.slide_id != slide.id:
        raise NotFound("no such package")
    return package
