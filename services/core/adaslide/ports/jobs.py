"""What the service remembers: slides, packages, jobs; and the one way to change it, a unit of work."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import JobState
from adaslide.domain.profile import Profile, profile_named
from adaslide.ports.queue import Message
from adaslide.ports.security import ApiKeyRepository, AuditRepository


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """A registered slide. ``id`` is opaque; ``alias`` is the caller's own name for it, which may name
    a patient and therefore stands in no log, key or message."""

    id: str
    alias: str | None
    source: str
    """A file name in the slide's own folder when ``staged``, else an absolute path that is only read."""
    staged: bool
    facts: dict[str, Any]
    """Size, levels, mpp and the like as JSON; never a property that could name a patient."""
    sha256: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CompressRequest:
    """What a caller asked for; None leaves the profile's own value."""

    profile: str
    lambda_: float | None = None
    dice_floor: float | None = None
    mpp: float | None = None

    def policy(self) -> Profile:
        """The profile with the caller's own values. Raises `ProfileInvalid`."""
        return profile_named(self.profile).with_floors(dice=self.dice_floor).with_lambda(self.lambda_)


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """A finished package: it exists for callers from the moment its row is committed."""

    id: str
    slide_id: str
    job_id: str
    request: CompressRequest
    totals: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job. ``done`` and ``total`` count patches; ``total`` is 0 until planned."""

    id: str
    slide_id: str
    package_id: str
    request: CompressRequest
    state: JobState
    done: int
    total: int
    attempts: int
    problem: dict[str, Any] | None
    seconds: float
    """Time worked so far, over all attempts."""
    peak_rss_bytes: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One line of the append-only log; ``id`` grows."""

    id: int
    job_id: str
    at: datetime
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class SlideRepository(Protocol):
    """Registered slides."""

    def add(self, slide: SlideRecord) -> None:
        """Raises `Conflict` when the alias is taken."""
        ...

    def get(self, slide_id: str) -> SlideRecord:
        """Raises `NotFound`."""
        ...

    def find(self, key: str) -> SlideRecord:
        """By id or by alias. Raises `NotFound`."""
        ...

    def page(self, limit: int, before: str | None = None) -> list[SlideRecord]:
        """Newest first, those older than the slide ``before``."""
        ...


class PackageRepository(Protocol):
    """Finished packages."""

    def add(self, package: PackageRecord) -> None: ...

    def get(self, package_id: str) -> PackageRecord:
        """Raises `NotFound`."""
        ...

    def of_slide(self, slide_id: str) -> list[PackageRecord]:
        """Newest first."""
        ...

    def matching(self, slide_id: str, request: CompressRequest) -> PackageRecord | None:
        """The newest package made for this very request."""
        ...


class JobRepository(Protocol):
    """Jobs, their shards and their append-only log."""

    def add(self, job: JobRecord) -> None:
        """Raises `Conflict` when an unfinished job does the same work."""
        ...

    def get(self, job_id: str) -> JobRecord:
        """Raises `NotFound`."""
        ...

    def page(self, limit: int, before: str | None = None, slide_id: str | None = None) -> list[JobRecord]:
        """Newest first, those older than the job ``before``."""
        ...

    def unfinished(self) -> list[JobRecord]:
        """Every job that is not in a terminal state, oldest first."""
        ...

    def fruitless(self) -> list[JobRecord]:
        """Every job that failed or was cancelled: what it may have written belongs to nobody."""
        ...

    def active(self, slide_id: str, request: CompressRequest) -> JobRecord | None:
        """The unfinished job that does this very work, if there is one."""
        ...

    def transition(self, job_id: str, target: JobState, *, problem: dict[str, Any] | None = None) -> bool:
        """Compare and set along `domain.job.TRANSITIONS`, with an event; False when the job's state
        does not lead to ``target``."""
        ...

    def begin_attempt(self, job_id: str) -> int:
        """Counts a pick-up of the job by a worker; returns how many there have been."""
        ...

    def add_shards(self, job_id: str, shards: dict[ShardIndex, int]) -> None:
        """The plan's shards with their numbers of patches; replaces what was there."""
        ...

    def open_shards(self, job_id: str) -> list[ShardIndex]:
        """Shards that are not done."""
        ...

    def has_shards(self, job_id: str) -> bool: ...

    def begin_shard(self, job_id: str, shard: ShardIndex) -> int | None:
        """Counts an attempt and returns how many there have been; None when the shard is done."""
        ...

    def shard_attempts(self, job_id: str, shard: ShardIndex) -> int: ...

    def shard_progress(self, job_id: str, shard: ShardIndex, done: int) -> None:
        """Patches of the shard done so far; the job's progress follows, with an event."""
        ...

    def finish_shard(self, job_id: str, shard: ShardIndex) -> None: ...

    def add_work(self, job_id: str, seconds: float, peak_rss_bytes: int) -> None:
        """Adds the time worked, raises the peak."""
        ...

    def log(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        """Appends an event."""
        ...

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        """Events with an id greater than ``after``, in order."""
        ...


class IdempotencyRepository(Protocol):
    """Which job an ``Idempotency-Key`` made. Keys are kept as digests."""

    def get(self, key: str) -> tuple[str, str] | None:
        """(fingerprint of the request, job id)."""
        ...

    def add(self, key: str, fingerprint: str, job_id: str) -> None:
        """Raises `Conflict` when the key is taken."""
        ...


class UnitOfWork(Protocol):
    """One transaction. Leaving it without an error commits, then sends the messages; an error
    undoes the changes and drops the messages."""

    @property
    def slides(self) -> SlideRepository: ...

    @property
    def packages(self) -> PackageRepository: ...

    @property
    def jobs(self) -> JobRepository: ...

    @property
    def keys(self) -> IdempotencyRepository: ...

    @property
    def api_keys(self) -> ApiKeyRepository: ...

    @property
    def audit(self) -> AuditRepository: ...

    def send(self, message: Message) -> None:
        """Queues the message for after the commit."""
        ...


class Database(Protocol):
    """Where units of work come from. Safe for use by many threads."""

    def write(self) -> AbstractContextManager[UnitOfWork]: ...

    def read(self) -> AbstractContextManager[UnitOfWork]:
        """A consistent view; nothing is committed and nothing is sent."""
        ...

    def ping(self) -> None:
        """Raises `StoreUnavailable` when the database does not answer."""
        ...

    def close(self) -> None: ...
