"""What the service remembers: slides, packages, jobs; and the one way to change it, a unit of work."""

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from adaslide.domain.access import DEFAULT_TENANT
from adaslide.domain.job import JobKind, JobState, Urgency
from adaslide.domain.profile import Profile, profile_named
from adaslide.ports.queue import Message
from adaslide.ports.security import ApiKeyRepository, AuditRepository
from adaslide.ports.uploads import UploadRepository
from adaslide.ports.work import WorkRepository


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """A registered slide. ``id`` is opaque; ``alias`` is the caller's own name for it, which may name
    a patient and therefore stands in no log, key or message. ``hold`` says who forbids its removal."""

    id: str
    alias: str | None
    source: str
    """A file name among the slide's own files when ``staged``, else an absolute path or an ``s3://`` URI
    that is only read."""
    staged: bool
    facts: dict[str, Any]
    """Size, levels, mpp and the like as JSON; never a property that could name a patient."""
    sha256: str
    created_at: datetime
    tenant: str = DEFAULT_TENANT
    hold: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CompressRequest:
    """What a caller asked for; None leaves the profile's own value."""

    profile: str
    lambda_: float | None = None
    dice_floor: float | None = None
    mpp: float | None = None
    protect: str | None = None
    """Regions of which nothing may be restored, as `pipeline.protected.canonical` writes them."""
    target_ratio: float | None = None
    """Bytes of the source over those of the package; see `CompressionPlan.ratio_base`."""

    def policy(self) -> Profile:
        """The profile with the caller's own values. Raises `ProfileInvalid`."""
        profile = profile_named(self.profile)
        profile.check_target(self.target_ratio, self.lambda_)
        return profile.with_floors(dice=self.dice_floor).with_lambda(self.lambda_)


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """The file that is asked of a package: ``format`` is ``tiff``, or ``original`` for the source's own
    tiles; each ``level`` halves the one before."""

    package: str
    format: str
    level: int = 0


JobRequest = CompressRequest | RestoreRequest


SAID_LATER = frozenset({"protect", "target_ratio"})
"""Parts of a request that older ones lack."""


def request_fields(request: JobRequest) -> dict[str, Any]:
    """The request as JSON, by which it is stored and known again. What came later than the others stands in
    it only where it is given: a request of before is still the same."""
    return {k: v for k, v in asdict(request).items() if v is not None or k not in SAID_LATER}


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """A finished package: it exists for callers from the moment its row is committed. ``location`` is the
    name of its objects' folder in the store."""

    id: str
    slide_id: str
    job_id: str
    request: CompressRequest
    totals: dict[str, Any]
    created_at: datetime
    location: str
    hold: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job. ``done`` and ``total`` count patches; ``total`` is 0 until planned. ``attempts``
    is that of whatever part of it was begun most often."""

    id: str
    slide_id: str
    package_id: str
    request: JobRequest
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
    tenant: str = DEFAULT_TENANT
    urgency: Urgency = Urgency.ROUTINE
    callback_url: str | None = None
    result: dict[str, Any] | None = None
    """Of a restoration that succeeded: what its file is, as long as it is kept."""
    told: bool = True
    """Nothing of the job's end is to be told at ``callback_url`` (any more)."""

    @property
    def kind(self) -> JobKind:
        return JobKind.COMPRESS if isinstance(self.request, CompressRequest) else JobKind.RESTORE

    @property
    def compression(self) -> CompressRequest:
        """The request of a job that compresses."""
        assert isinstance(self.request, CompressRequest)
        return self.request

    @property
    def restoration(self) -> RestoreRequest:
        """The request of a job that restores."""
        assert isinstance(self.request, RestoreRequest)
        return self.request


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

    def find(self, key: str, tenant: str = DEFAULT_TENANT) -> SlideRecord:
        """The tenant's slide by id or by alias. Raises `NotFound`, also for another tenant's."""
        ...

    def page(
        self,
        limit: int,
        before: str | None = None,
        tenant: str = DEFAULT_TENANT,
        sha256: str | None = None,
        alias: str | None = None,
    ) -> list[SlideRecord]:
        """The tenant's, newest first, those older than the slide ``before``."""
        ...

    def set_hold(self, slide_id: str, hold: dict[str, Any] | None) -> None:
        """Forbids the slide's removal, or allows it again."""
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

    def kept(self, job: JobRecord) -> str | None:
        """Where the package lies that the job made, as long as any row names it: its own, or that of a job
        which adopted it. None when nothing of what the job wrote is a package."""
        ...

    def matching(self, slide: SlideRecord, request: CompressRequest) -> PackageRecord | None:
        """The newest package that the slide's tenant has of the same bytes for this very request: of the
        slide itself if there is one, else of another slide with the same source."""
        ...

    def set_hold(self, package_id: str, hold: dict[str, Any] | None) -> None:
        """Forbids the package's removal, or allows it again."""
        ...

    def remove(self, package_id: str) -> None:
        """The package exists no more; its objects are swept later unless another row names them too
        (`kept`). Raises `Held` while it or its slide is held, `NotFound`."""
        ...


class JobRepository(Protocol):
    """Jobs and their append-only log."""

    def add(self, job: JobRecord) -> None:
        """Raises `Conflict` when an unfinished job does the same work."""
        ...

    def get(self, job_id: str, tenant: str | None = None) -> JobRecord:
        """Raises `NotFound`, also for another tenant's job; workers ask without a ``tenant``."""
        ...

    def page(
        self,
        limit: int,
        before: str | None = None,
        slide_id: str | None = None,
        tenant: str = DEFAULT_TENANT,
        state: JobState | None = None,
    ) -> list[JobRecord]:
        """The tenant's, newest first, those older than the job ``before``."""
        ...

    def unfinished(self) -> list[JobRecord]:
        """Every job that is not in a terminal state, oldest first."""
        ...

    def count_unfinished(self, tenant: str) -> tuple[int, int]:
        """(of all tenants, of this one)."""
        ...

    def active(self, slide_id: str, request: JobRequest) -> JobRecord | None:
        """The unfinished job that does this very work, if there is one."""
        ...

    def transition(self, job_id: str, target: JobState, *, problem: dict[str, Any] | None = None) -> bool:
        """Compare and set along `domain.job.TRANSITIONS`, with an event; False when the job's state
        does not lead to ``target``. Back to queued, the job begins anew. At its end its caller is told
        (`Task.NOTIFY`), if it has a ``callback_url``."""
        ...

    def begin_attempt(self, job_id: str) -> int:
        """Counts a pick-up of the job itself, not of a shard; returns how many there have been."""
        ...

    def set_progress(self, job_id: str, done: int, total: int) -> None:
        """Of a running job without shards; with an event at its first and last patch."""
        ...

    def restored(self, slide_id: str, request: RestoreRequest) -> JobRecord | None:
        """The newest job that made this very file, if the file is still kept."""
        ...

    def add_work(self, job_id: str, seconds: float, peak_rss_bytes: int) -> None:
        """Adds the time worked, raises the peak."""
        ...

    def log(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        """Appends an event."""
        ...

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        """Events with an id greater than ``after``, in order."""
        ...

    def unswept(self, older_than_s: float) -> list[JobRecord]:
        """Jobs that ended that long ago and may have left something unfinished in the store."""
        ...

    def set_result(self, job_id: str, result: dict[str, Any]) -> None:
        """What the job's file is."""
        ...

    def expire_results(self, older_than_s: float) -> None:
        """Forgets the results of jobs that ended that long ago; `unswept` then tells those jobs again."""
        ...

    def mark_told(self, job_id: str) -> None:
        """The caller knows how the job ended, or is given up."""
        ...

    def mark_swept(self, job_id: str) -> None:
        """Nothing of the job but its package is left."""
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
    def uploads(self) -> UploadRepository: ...

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

    @property
    def work(self) -> WorkRepository: ...

    def send(self, message: Message) -> None:
        """Queues the message for after the commit. It survives a broker that does not answer then: it is
        sent again until the broker has it, unless it is a doorbell (`Task.doorbell`)."""
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
