"""What routes are handed by FastAPI."""

from typing import Annotated

from fastapi import Depends, Query, Request

from adaslide_api.access import PrincipalDep
from adaslide_api.packages import OpenPackage
from adaslide_api.serving.fairness import Audience
from adaslide_api.serving.patience import client_of
from adaslide_api.trail import trail_of
from adaslide_api.wiring import Services


def services(request: Request) -> Services:
    """The parts that `create_app` built."""
    found: Services = request.app.state.services
    return found


ServicesDep = Annotated[Services, Depends(services)]
Id = Annotated[str, Query(max_length=26, pattern="^[0-9a-z]+$")]
"""An id of ours as a parameter. One that nothing has is no error: it finds nothing."""
PackageId = Annotated[str | None, Query(alias="package", description="A package's id, else the newest")]


async def package(
    request: Request, key: str, principal: PrincipalDep, package_id: PackageId = None
) -> OpenPackage:
    """The package that the path's slide and ``?package=`` name."""
    parts = services(request)
    client = Audience(client_of(request))
    found = await parts.lookup.run_for(
        client, lambda: parts.packages.open(parts.packages.find(key, package_id, principal.tenant))
    )
    trail_of(request).note(slide=found.record.slide_id, package=found.record.id)
    return found


PackageDep = Annotated[OpenPackage, Depends(package)]
