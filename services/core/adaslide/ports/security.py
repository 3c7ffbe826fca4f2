"""Who may do what, and who did: API keys, tokens of an identity provider, the audit log."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adaslide.domain.access import Principal, Role
from adaslide.domain.audit import AuditEntry, AuditHead, AuditRecord, Outcome


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """What is kept of an API key. ``digest`` is `domain.api_key.ApiKey.digest`."""

    id: str
    tenant: str
    roles: frozenset[Role]
    digest: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the hour: a key in use does not write with every request."""

    def valid(self, at: datetime) -> bool:
        """Whether it opens anything at ``at``."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)

    @property
    def principal(self) -> Principal:
        """Whoever holds the key."""
        return Principal(f"key-{self.id}", self.tenant, self.roles)


class ApiKeyRepository(Protocol):
    """API keys. They are revoked, never removed: the audit log names them."""

    def add(self, key: ApiKeyRecord) -> None:
        """Raises `Conflict` when the id is taken."""
        ...

    def find(self, key_id: str) -> ApiKeyRecord | None: ...

    def all(self, tenant: str | None = None) -> list[ApiKeyRecord]:
        """Newest first; those of one tenant, or every one."""
        ...

    def revoke(self, key_id: str, at: datetime) -> ApiKeyRecord:
        """Once revoked it stays so, since the first time. Raises `NotFound`."""
        ...

    def used(self, key_id: str, at: datetime) -> None:
        """Remembers a use."""
        ...


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records are wanted; None wants all. ``since`` is included, ``until`` is not."""

    tenant: str | None = None
    principal: str | None = None
    action: str | None = None
    outcome: Outcome | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class AuditRepository(Protocol):
    """The audit log: one chain over all tenants, appended to and never changed."""

    def append(self, entry: AuditEntry) -> AuditRecord:
        """Adds the entry to the chain's end. Writers at the same time wait for each other, so that there is
        one chain; the lock is held to the unit of work's end."""
        ...

    def head(self) -> AuditHead: ...

    def newest(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRecord]:
        """Newest first, those with a number below ``before``."""
        ...

    def oldest(self, wanted: AuditFilter, limit: int, after: int = 0) -> list[AuditRecord]:
        """In the chain's order, those with a number above ``after``."""
        ...


class TokenVerifier(Protocol):
    """Checks bearer tokens of an identity provider. Safe for use by many threads."""

    def verify(self, token: str) -> Principal:
        """Whoever the token stands for. Raises `Unauthenticated`, and `IdentityUnavailable` when the
        provider's keys cannot be had."""
        ...
