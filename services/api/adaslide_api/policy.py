"""The site's policy: restored pixels are not shown for primary diagnosis."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from fastapi import Depends, Header, Query

from adaslide.domain.access import Use
from adaslide.domain.errors import RestoredNotForPrimary
from adaslide.domain.geometry import Region
from adaslide.domain.rung import RESTORED_RUNGS, Provenance
from adaslide.pipeline.made_with import has_restored
from adaslide.pipeline.restore import Restoration, RestoredRegion, Unfinished
from adaslide.ports.jobs import Database, JobRecord, PackageRecord
from adaslide.settings import Policy
from adaslide_api.gate import Gate
from adaslide_api.packages import OpenPackage

USE_HEADER = "X-AdaSlide-Use"
PREVIEW_FACTOR = 4
"""No rung stores less than a quarter of a side: at this scale nothing was added to what was measured."""
_RUNGS = [int(rung) for rung in RESTORED_RUNGS]


@dataclass(frozen=True, slots=True)
class Asked:
    """What pixels are for; ``preview`` accepts the un-restored ones where others are not shown."""

    use: Use
    preview: bool


def asked(
    header: Annotated[Use | None, Header(alias=USE_HEADER, description="As ?use=")] = None,
    use: Annotated[Use | None, Query(description="What the pixels are for, else secondary")] = None,
    preview: Annotated[bool, Query(description="The un-restored preview instead of restored pixels")] = False,
) -> Asked:
    """Of a request. Where header and query differ, the stricter one is meant."""
    given = [use, header]
    stated = Use.PRIMARY if Use.PRIMARY in given else use or header or Use.SECONDARY
    return Asked(stated, preview)


AskedDep = Annotated[Asked, Depends(asked)]


class RestoredPolicy:
    """Decides over restored pixels. Call it before anything is answered, a 304 as well."""

    def __init__(self, settings: Policy, database: Database, decode: Gate) -> None:
        self._allowed = settings.restored_for_primary
        self._database = database
        self._decode = decode

    async def previewed(self, package: OpenPackage, where: Region, downsample: int, asked: Asked) -> bool:
        """Whether `unrestored` pixels of ``where`` (pixels at ``downsample``) are to be shown.

        Raises `RestoredNotForPrimary`, which points to a package without restored patches if there is one.
        """
        forbidden = self._forbids(asked)
        # Below full resolution nothing is restored: payloads' previews and stored overviews are shown.
        if downsample > 1 or not (forbidden or asked.preview):
            return False
        if not await self._decode.run(holds_restored, package, where):
            return False
        if asked.preview:
            return True
        raise await self._decode.run(self._refusal, package.record)

    async def check_file(self, package: PackageRecord, level: int, asked: Asked) -> None:
        """Raises `RestoredNotForPrimary` when a file of the package at ``level`` would hold restored pixels
        that are not to be shown."""
        if self._forbids(asked) and level == 0 and has_restored(package.totals):
            raise await self._decode.run(self._refusal, package)

    def check_result(self, job: JobRecord, asked: Asked) -> None:
        """The same for the file that ``job`` made, whose package may be gone."""
        assert job.result is not None
        if self._forbids(asked) and job.result["restored"]:
            raise RestoredNotForPrimary("restored pixels are not shown for primary diagnosis", exact=None)

    def _forbids(self, asked: Asked) -> bool:
        return asked.use is Use.PRIMARY and not self._allowed

    def _refusal(self, shown: PackageRecord) -> RestoredNotForPrimary:
        with self._database.read() as unit:
            packages = unit.packages.of_slide(shown.slide_id)
        whole = next((package for package in packages if not has_restored(package.totals)), None)
        return RestoredNotForPrimary(
            "restored pixels are not shown for primary diagnosis; preview=true shows what was stored",
            exact=None
            if whole is None
            else {"package": whole.id, "dzi": f"/slides/{whole.slide_id}.dzi?package={whole.id}"},
        )


def holds_restored(package: OpenPackage, where: Region) -> bool:
    """Whether a restored patch lies under ``where``, in pixels of full resolution."""
    rungs = package.reader.maps.decision["rung"]
    return any(rungs[index.row, index.col] in _RUNGS for index in package.reader.grid.covering(where))


def reader(
    restoration: Restoration, where: Region, downsample: int, *, preview: bool
) -> Callable[[], Unfinished | RestoredRegion]:
    """What reads the pixels that `RestoredPolicy.previewed` decided for."""
    if preview:
        return partial(unrestored, restoration, where)
    return partial(restoration.begin, where, downsample)


def unrestored(restoration: Restoration, where: Region) -> RestoredRegion:
    """``where`` of full resolution from a quarter of its pixels, each repeated: no detail is added."""
    factor = PREVIEW_FACTOR
    x, y = where.x // factor, where.y // factor
    small = Region(x, y, -(-where.right // factor) - x, -(-where.bottom // factor) - y)
    pixels = restoration.read(small, factor).pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    left, top = where.x - x * factor, where.y - y * factor
    cut = np.ascontiguousarray(pixels[top : top + where.height, left : left + where.width])
    return RestoredRegion(cut, Provenance.PREVIEW)
