"""What a request leaves in the audit log: filled in on its way, written before its answer goes out."""

from dataclasses import dataclass, field

from starlette.requests import Request

from adaslide.adapters.db.ids import is_id
from adaslide.domain.access import Principal

KEY = "trail"


@dataclass(slots=True)
class Trail:
    """Of one request. ``action`` None: only a denial is recorded."""

    principal: Principal | None = None
    action: str | None = None
    once: bool = False
    objects: dict[str, str] = field(default_factory=dict)

    def note(self, **ids: str | None) -> None:
        """Remembers what the request is about. Whatever is no id of ours is left out: it may be a name."""
        self.objects |= {kind: value for kind, value in ids.items() if value is not None and is_id(value)}


def trail_of(request: Request) -> Trail:
    """The request's own."""
    found: Trail = request.scope["state"][KEY]
    return found
