"""What a request leaves in the audit log: filled in on its way, written with what it changes, else before its
answer goes out (`auditor`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.requests import Request

from adaslide.adapters.db.ids import is_id
from adaslide.domain.access import Principal
from adaslide.domain.audit import NOBODY, AuditEntry, Outcome
from adaslide.ports.jobs import Database, UnitOfWork

KEY = "trail"


@dataclass(slots=True)
class Trail:
    """Of one request. ``action`` None: only a denial is recorded."""

    principal: Principal | None = None
    action: str | None = None
    once: bool = False
    objects: dict[str, str] = field(default_factory=dict)
    written: bool = False
    """The record of its success is in the log."""

    def note(self, **ids: str | None) -> None:
        """Remembers what the request is about. Whatever is no id of ours is left out: it may be a name."""
        self.objects |= {kind: value for kind, value in ids.items() if value is not None and is_id(value)}

    @contextmanager
    def change(self, database: Database) -> Iterator[UnitOfWork]:
        """A transaction that the record of it belongs to: neither is there without the other. What it is
        about is noted before its end."""
        with database.write() as unit:
            yield unit
            # Last: whoever appends waits for whoever did until that one's transaction has ended.
            unit.audit.append(self.entry(self.action or "-", Outcome.OK))
        self.written = True

    def within(self, action: str) -> "Trail":
        """Of something else that the same request does."""
        return Trail(self.principal, action)

    def entry(self, action: str, outcome: Outcome) -> AuditEntry:
        """The record."""
        who = self.principal
        return AuditEntry(
            who.tenant if who else NOBODY, who.id if who else NOBODY, action, outcome, self.objects
        )


def trail_of(request: Request) -> Trail:
    """The request's own."""
    found: Trail = request.scope["state"][KEY]
    return found
