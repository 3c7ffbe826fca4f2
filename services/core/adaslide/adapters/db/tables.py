"""The tables. Queries stand in the repositories, changes of shape in ``migrations/versions``."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from adaslide.domain.access import DEFAULT_TENANT
from adaslide.domain.job import JobKind, Urgency

ID = String(26)
TENANT = String(64)
UNFINISHED = "state IN ('queued', 'running', 'verifying', 'cancelling')"


def utc_now() -> datetime:
    """For what people read; leases go by the database's clock (`clock.db_now`)."""
    return datetime.now(UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime, also on SQLite, which keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value


class Base(DeclarativeBase):
    """Common registry of the tables."""

    type_annotation_map: ClassVar = {
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(),
    }


class SlideRow(Base):
    """A registered slide; ``alias`` is the caller's own name for it, ``hold`` who forbids its removal."""

    __tablename__ = "slides"
    __table_args__ = (
        UniqueConstraint("tenant", "alias", name="one_slide_per_alias"),
        Index("slides_by_source", "tenant", "sha256"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    alias: Mapped[str | None] = mapped_column(String(128))
    source: Mapped[str] = mapped_column(String(4096))
    staged: Mapped[bool]
    facts: Mapped[dict[str, Any]]
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    tenant: Mapped[str] = mapped_column(TENANT, default=DEFAULT_TENANT)
    hold: Mapped[dict[str, Any] | None]


class JobRow(Base):
    """A job and where it stands. ``request_digest`` is the same for the same work.

    ``done`` counts the patches of finished shards, ``open`` the shards that are not. ``woken`` is when a
    message about the job was last sent, ``swept`` that nothing unfinished of it is left in the store,
    ``told`` that nothing of its end is to be told at ``callback_url``.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(
            "one_unfinished_job_per_request",
            "slide_id",
            "request_digest",
            unique=True,
            sqlite_where=text(UNFINISHED),
            postgresql_where=text(UNFINISHED),
        ),
        Index("jobs_by_state", "state"),
        Index("jobs_of_tenant", "tenant", "state"),
        Index("jobs_to_tell", "id", sqlite_where=text("NOT told"), postgresql_where=text("NOT told")),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    slide_id: Mapped[str] = mapped_column(ForeignKey("slides.id"), index=True)
    package_id: Mapped[str] = mapped_column(ID, unique=True)
    request: Mapped[dict[str, Any]]
    request_digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int] = mapped_column(Integer, default=0)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    problem: Mapped[dict[str, Any] | None]
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    peak_rss_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    tenant: Mapped[str] = mapped_column(TENANT, default=DEFAULT_TENANT)
    urgency: Mapped[int] = mapped_column(default=Urgency.ROUTINE.value)
    open: Mapped[int] = mapped_column(default=0)
    woken: Mapped[float] = mapped_column(Float, default=0.0)
    swept: Mapped[bool] = mapped_column(default=False)
    callback_url: Mapped[str | None] = mapped_column(String(2048))
    kind: Mapped[str] = mapped_column(String(16), default=JobKind.COMPRESS.value)
    result: Mapped[dict[str, Any] | None]
    told: Mapped[bool] = mapped_column(default=True)


class ShardRow(Base):
    """One shard of a planned job: the unit of retry.

    ``token`` counts the leases it was given out under; only the last one's work counts. Times are seconds
    since 1970 by the database's clock.
    """

    __tablename__ = "shards"
    __table_args__ = (Index("shards_by_lease", "finished", "lease_until"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    row: Mapped[int] = mapped_column(primary_key=True)
    col: Mapped[int] = mapped_column(primary_key=True)
    patches: Mapped[int]
    done: Mapped[int] = mapped_column(Integer, default=0)
    finished: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    token: Mapped[int] = mapped_column(default=0)
    holder: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[float] = mapped_column(Float, default=0.0)
    not_before: Mapped[float] = mapped_column(Float, default=0.0)


class LeaseRow(Base):
    """Work that one process at a time does: ``plan/{job}``, ``finalize/{job}``, ``export/{job}``,
    ``notify/{job}``, ``reconcile``."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    token: Mapped[int] = mapped_column(default=1)
    holder: Mapped[str] = mapped_column(String(64))
    until: Mapped[float] = mapped_column(Float)


class OutboxRow(Base):
    """A message that its transaction made true, until the queue has it."""

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    task: Mapped[str] = mapped_column(String(64))
    args: Mapped[list[Any]]
    due: Mapped[float] = mapped_column(Float, index=True)


class PulseRow(Base):
    """When something last gave a sign of life, by the database's clock."""

    __tablename__ = "pulses"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[float] = mapped_column(Float)


class PackageRow(Base):
    """A finished package. ``location`` is where its objects lie."""

    __tablename__ = "packages"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    slide_id: Mapped[str] = mapped_column(ForeignKey("slides.id"), index=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    request: Mapped[dict[str, Any]]
    request_digest: Mapped[str] = mapped_column(String(64))
    totals: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    location: Mapped[str] = mapped_column(String(128))
    hold: Mapped[dict[str, Any] | None]


class JobEventRow(Base):
    """The log of a job. Rows are added, never changed and never removed."""

    __tablename__ = "job_events"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 (SQLAlchemy's own form)

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]


class IdempotencyKeyRow(Base):
    """The job that an ``Idempotency-Key`` made. ``key`` is a digest of the caller's."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[datetime]
