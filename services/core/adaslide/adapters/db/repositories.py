"""Slides, packages and idempotency keys in SQL."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from adaslide.adapters.db.ids import ID_CHARACTERS
from adaslide.adapters.db.records import package_record, slide_record
from adaslide.adapters.db.tables import Base, IdempotencyKeyRow, JobRow, PackageRow, SlideRow, utc_now
from adaslide.domain.access import DEFAULT_TENANT
from adaslide.domain.errors import Conflict, Held, NotFound
from adaslide.ports.jobs import (
    CompressRequest,
    JobRecord,
    JobRequest,
    PackageRecord,
    SlideRecord,
    request_fields,
)


def request_digest(request: JobRequest) -> str:
    """The same for the same work."""
    return hashlib.sha256(json.dumps(request_fields(request), sort_keys=True).encode()).hexdigest()


def insert(session: Session, row: Base, taken: str) -> None:
    """Adds the row; raises `Conflict` with the message ``taken`` when a unique column is."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise Conflict(taken) from error


class SqlSlides:
    """`SlideRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, slide: SlideRecord) -> None:
        row = SlideRow(
            id=slide.id,
            alias=slide.alias,
            source=slide.source,
            staged=slide.staged,
            facts=slide.facts,
            sha256=slide.sha256,
            created_at=slide.created_at,
            tenant=slide.tenant,
            hold=slide.hold,
        )
        insert(self._session, row, "a slide of that name is already registered")

    def get(self, slide_id: str) -> SlideRecord:
        row = self._session.get(SlideRow, slide_id)
        if row is None:
            raise NotFound("no such slide")
        return slide_record(row)

    def find(self, key: str, tenant: str = DEFAULT_TENANT) -> SlideRecord:
        named = sa.or_(SlideRow.id == key, SlideRow.alias == key)
        row = self._session.scalars(sa.select(SlideRow).where(SlideRow.tenant == tenant, named)).first()
        if row is None:
            raise NotFound("no such slide")
        return slide_record(row)

    def page(
        self,
        limit: int,
        before: str | None = None,
        tenant: str = DEFAULT_TENANT,
        sha256: str | None = None,
        alias: str | None = None,
    ) -> list[SlideRecord]:
        query = sa.select(SlideRow).where(SlideRow.tenant == tenant).order_by(SlideRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(SlideRow.id < before)
        if sha256 is not None:
            query = query.where(SlideRow.sha256 == sha256)
        if alias is not None:
            query = query.where(SlideRow.alias == alias)
        return [slide_record(row) for row in self._session.scalars(query)]

    def set_hold(self, slide_id: str, hold: dict[str, Any] | None) -> None:
        self._session.execute(sa.update(SlideRow).where(SlideRow.id == slide_id).values(hold=hold))


class SqlPackages:
    """`PackageRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, package: PackageRecord) -> None:
        self._session.add(
            PackageRow(
                id=package.id,
                slide_id=package.slide_id,
                job_id=package.job_id,
                request=request_fields(package.request),
                request_digest=request_digest(package.request),
                totals=package.totals,
                created_at=package.created_at,
                location=package.location,
                hold=package.hold,
            )
        )
        self._session.flush()

    def get(self, package_id: str) -> PackageRecord:
        row = self._session.get(PackageRow, package_id)
        if row is None:
            raise NotFound("no such package")
        return package_record(row)

    def _newest_first(self, *where: sa.ColumnElement[bool]) -> list[PackageRecord]:
        query = (
            sa.select(PackageRow).where(*where).order_by(PackageRow.created_at.desc(), PackageRow.id.desc())
        )
        return [package_record(row) for row in self._session.scalars(query)]

    def of_slide(self, slide_id: str) -> list[PackageRecord]:
        return self._newest_first(PackageRow.slide_id == slide_id)

    def kept(self, job: JobRecord) -> str | None:
        made = PackageRow.location.startswith(job.package_id, autoescape=True)
        return self._session.scalar(sa.select(PackageRow.location).where(made).limit(1))

    def matching(self, slide: SlideRecord, request: CompressRequest) -> PackageRecord | None:
        query = (
            sa.select(PackageRow)
            .join(SlideRow, SlideRow.id == PackageRow.slide_id)
            .where(
                SlideRow.tenant == slide.tenant,
                SlideRow.sha256 == slide.sha256,
                PackageRow.request_digest == request_digest(request),
            )
            .order_by((PackageRow.slide_id == slide.id).desc(), PackageRow.created_at.desc())
            .limit(1)
            # Whoever adopts it must not find it removed: `remove` waits for the end of this unit.
            .with_for_update(of=PackageRow, read=True)
        )
        row = self._session.scalars(query).first()
        return None if row is None else package_record(row)

    def set_hold(self, package_id: str, hold: dict[str, Any] | None) -> None:
        self._session.execute(sa.update(PackageRow).where(PackageRow.id == package_id).values(hold=hold))

    def remove(self, package_id: str) -> None:
        # Locked, so that no hold is set between the look at it and the removal.
        found = self._session.execute(
            sa.select(PackageRow, SlideRow)
            .join(SlideRow, SlideRow.id == PackageRow.slide_id)
            .where(PackageRow.id == package_id)
            .with_for_update(of=[PackageRow, SlideRow])
            .execution_options(populate_existing=True)
        ).first()
        if found is None:
            raise NotFound("no such package")
        package, slide = found
        if package.hold is not None or slide.hold is not None:
            raise Held("a legal hold forbids the removal")
        self._session.delete(package)
        maker = JobRow.package_id == package.location[:ID_CHARACTERS]
        self._session.execute(sa.update(JobRow).where(maker).values(swept=False))


class SqlIdempotencyKeys:
    """`IdempotencyRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, key: str) -> tuple[str, str] | None:
        row = self._session.get(IdempotencyKeyRow, key)
        return None if row is None else (row.fingerprint, row.job_id)

    def add(self, key: str, fingerprint: str, job_id: str) -> None:
        row: Any = IdempotencyKeyRow(key=key, fingerprint=fingerprint, job_id=job_id, created_at=utc_now())
        insert(self._session, row, "that Idempotency-Key is already used")
