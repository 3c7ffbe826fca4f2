"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"
"""The tenant of an installation that knows no other."""
TENANT_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"


class Role(StrEnum):
    """What a principal may do. Roles do not contain each other: a principal has a set of them."""

    VIEWER = "viewer"
    """Looks at slides, packages, tiles and jobs."""
    INTEGRATOR = "integrator"
    """Registers slides, asks for jobs, cancels them."""
    OPERATOR = "operator"
    """Replays failed jobs, reads metrics, manages API keys."""
    APPROVER = "approver"
    """Sets and lifts legal holds."""
    AUDITOR = "auditor"
    """Reads and exports the audit log."""


class Use(StrEnum):
    """What pixels are asked for (header ``X-AdaSlide-Use``)."""

    PRIMARY = "primary"
    """A first diagnosis is made from them."""
    SECONDARY = "secondary"
    """Review, tumour boards, teaching."""
    RESEARCH = "research"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request comes from. ``id`` is opaque (of a key, a digest of a subject): it may be logged.

    ``tenant`` bounds everything: what belongs to another tenant does not exist.
    """

    id: str
    tenant: str
    roles: frozenset[Role]

    def has(self, *roles: Role) -> bool:
        """Whether it has one of ``roles``."""
        return not self.roles.isdisjoint(roles)


LOCAL = Principal("local", DEFAULT_TENANT, frozenset(Role))
"""Whoever is on this machine, where nobody else can reach the service."""
