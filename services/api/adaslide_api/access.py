"""Who may call a route: every route declares it, with `require` or with `PUBLIC`."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from adaslide.domain.access import Principal, Role
from adaslide.domain.errors import Denied
from adaslide_api.trail import trail_of

TOKEN_PARAMETER = "token"  # noqa: S105 (its name, not a token)
_PATH_OBJECTS = {"key": "slide", "job_id": "job", "package_id": "package", "upload_id": "upload"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """A dependency that lets through whoever has one of ``roles``; an empty set lets everybody through.

    ``action`` is what the audit log calls a successful call; without it only refused ones are
    recorded. ``once`` records it once in a while, for what one reader does a thousand times.
    ``tile_token`` accepts a tile token of the path's slide instead of a credential.
    """

    roles: frozenset[Role]
    action: str | None = None
    once: bool = False
    tile_token: bool = False

    async def __call__(self, request: Request) -> None:
        """Raises `Unauthenticated`, `Denied`."""
        if not self.roles:
            return
        trail = trail_of(request)
        trail.action, trail.once = self.action, self.once
        trail.note(**{kind: request.path_params.get(name) for name, kind in _PATH_OBJECTS.items()})
        trail.principal = await self._principal(request)
        if not trail.principal.has(*self.roles):
            raise Denied("this needs another role: " + ", ".join(sorted(self.roles)))

    async def _principal(self, request: Request) -> Principal:
        parts = request.app.state.services
        token = request.query_params.get(TOKEN_PARAMETER)
        if token is None or not self.tile_token or request.method not in ("GET", "HEAD"):
            principal: Principal = await parts.auth.principal(request.headers)
            return principal
        grant = parts.tile_tokens.read(token, datetime.now(UTC))
        grant.opens(request.path_params.get("key"), request.query_params.get("package"))
        viewer: Principal = grant.viewer
        return viewer


def require(*roles: Role, action: str | None = None, once: bool = False, tile_token: bool = False) -> Any:
    """``dependencies=[require(Role.VIEWER)]``: one of ``roles`` is needed. See `Requirement`."""
    if not roles:
        raise ValueError("name a role, or say PUBLIC")
    return Depends(Requirement(frozenset(roles), action, once, tile_token))


PUBLIC = Depends(Requirement(frozenset()))
"""For a route that tells nothing about anybody's slides."""


def principal(request: Request) -> Principal:
    """Whoever the route's `require` let through."""
    found = trail_of(request).principal
    assert found is not None, "the route declares no require"
    return found


PrincipalDep = Annotated[Principal, Depends(principal)]
