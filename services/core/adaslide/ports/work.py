"""Who works on what, until when. The database hands work out; messages only ring.

A worker holds a *lease* while it works and renews it; whoever stops renewing has lost the work to the
next one. Each lease has a *token* that grows: what was done under an older one does not count (a fencing
token), so that a worker which was thought dead can do no harm when it wakes up. All times are the
database's own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from adaslide.domain.geometry import ShardIndex
from adaslide.ports.gauges import WorkGauges
from adaslide.ports.queue import Message

if TYPE_CHECKING:
    from adaslide.ports.jobs import JobRecord, SlideRecord

CANARY = "canary"
"""The sign of life that a worker gives when a message reaches it."""


@dataclass(frozen=True, slots=True)
class ShardLease:
    """The right to compress one shard. ``attempt`` counts from 1."""

    job_id: str
    shard: ShardIndex
    token: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ShardClaim:
    """A lease, and what its work needs to know. ``taken_over``: its last holder stopped renewing it."""

    lease: ShardLease
    job: "JobRecord"
    slide: "SlideRecord"
    taken_over: bool


class WorkRepository(Protocol):
    """Shards, leases, the outbox and signs of life."""

    def add_shards(self, job_id: str, shards: dict[ShardIndex, int]) -> None:
        """The plan's shards with their numbers of patches; replaces what was there."""
        ...

    def planned(self, job_id: str) -> bool:
        """Whether the job has shards."""
        ...

    def claim_shard(self, holder: str, lease_s: float) -> ShardClaim | None:
        """The shard whose turn it is: the most urgent; of those, of the tenant that is served least now;
        of those, of the oldest job. Two claims never get the same one."""
        ...

    def beat_shard(self, lease: ShardLease, done: int, lease_s: float) -> bool:
        """Renews the lease and notes ``done`` patches. False: it is lost, or the job is not to go on."""
        ...

    def finish_shard(self, lease: ShardLease, seconds: float, peak_rss_bytes: int) -> int | None:
        """The shard is done under this lease; how many of the job are not. None: the lease was lost, or
        the job is not to go on."""
        ...

    def release_shard(self, lease: ShardLease, delay: float = 0.0, *, blameless: bool = False) -> bool:
        """Gives the shard back, to be claimed after ``delay`` seconds; ``blameless`` takes the attempt
        back as well. False: the lease was lost."""
        ...

    def winners(self, job_id: str) -> dict[ShardIndex, int]:
        """The token under which each shard was finished."""
        ...

    def claim(self, name: str, holder: str, lease_s: float) -> int | None:
        """A lease by name: its token, None while somebody else's runs."""
        ...

    def beat(self, name: str, token: int, lease_s: float) -> bool:
        """Renews it. False: it is lost."""
        ...

    def release(self, name: str, token: int) -> None:
        """Gives it back; one that was lost already is no error."""
        ...

    def forget_leases(self) -> None:
        """Nobody holds anything: only for the one process that owns the database, at its start."""
        ...

    def waiting(self) -> int:
        """Shards that could be claimed now."""
        ...

    def gauges(self) -> WorkGauges:
        """What waits and what is under way, over all tenants."""
        ...

    def wake(self, after_s: float) -> list[Message]:
        """Messages for jobs that wait for one, and for those whose caller waits: nobody works on them, and
        the last was sent ``after_s`` seconds ago or more."""
        ...

    def unsent(self, limit: int) -> dict[str, Message]:
        """Messages, by id, that the queue should have by now. Rows are locked until the unit ends."""
        ...

    def sent(self, ids: list[str]) -> None:
        """The queue has them."""
        ...

    def pulse(self, name: str) -> None:
        """A sign of life, now."""
        ...

    def pulse_age(self, name: str) -> float | None:
        """Seconds since the last one; None without."""
        ...
