"""Slides, packages and idempotency keys in SQL."""

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from adaslide.adapters.db.tables import Base, IdempotencyKeyRow, PackageRow, SlideRow
from adaslide.domain.errors import Conflict, NotFound
from adaslide.ports.jobs import CompressRequest, PackageRecord, SlideRecord


def request_digest(request: CompressRequest) -> str:
    """The same for the same work."""
    return hashlib.sha256(json.dumps(asdict(request), sort_keys=True).encode()).hexdigest()


def insert(session: Session, row: Base, taken: str) -> None:
    """Adds the row; raises `Conflict` with the message ``taken`` when a unique column is."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise Conflict(taken) from error


def _slide(row: SlideRow) -> SlideRecord:
    return SlideRecord(row.id, row.alias, row.source, row.staged, row.facts, row.sha256, row.created_at)


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
        )
        insert(self._session, row, "a slide of that name is already registered")

    def get(self, slide_id: str) -> SlideRecord:
        row = self._session.get(SlideRow, slide_id)
        if row is None:
            raise NotFound("no such slide")
        return _slide(row)

    def find(self, key: str) -> SlideRecord:
        query = sa.select(SlideRow).where(sa.or_(SlideRow.id == key, SlideRow.alias == key))
        row = self._session.scalars(query).first()
        if row is None:
            raise NotFound("no such slide")
        return _slide(row)

    def page(self, limit: int, before: str | None = None) -> list[SlideRecord]:
        query = sa.select(SlideRow).order_by(SlideRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(SlideRow.id < before)
        return [_slide(row) for row in self._session.scalars(query)]


def _package(row: PackageRow) -> PackageRecord:
    return PackageRecord(
        row.id, row.slide_id, row.job_id, CompressRequest(**row.request), row.totals, row.created_at
    )


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
                request=asdict(package.request),
                request_digest=request_digest(package.request),
                totals=package.totals,
                created_at=package.created_at,
            )
        )
        self._session.flush()

    def get(self, package_id: str) -> PackageRecord:
        row = self._session.get(PackageRow, package_id)
        if row is None:
            raise NotFound("no such package")
        return _package(row)

    def _newest_first(self, *where: sa.ColumnElement[bool]) -> list[PackageRecord]:
        query = (
            sa.select(PackageRow).where(*where).order_by(PackageRow.created_at.desc(), PackageRow.id.desc())
        )
        return [_package(row) for row in self._session.scalars(query)]

    def of_slide(self, slide_id: str) -> list[PackageRecord]:
        return self._newest_first(PackageRow.slide_id == slide_id)

    def matching(self, slide_id: str, request: CompressRequest) -> PackageRecord | None:
        found = self._newest_first(
            PackageRow.slide_id == slide_id, PackageRow.request_digest == request_digest(request)
        )
        return found[0] if found else None


class SqlIdempotencyKeys:
    """`IdempotencyRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, key: str) -> tuple[str, str] | None:
        row = self._session.get(IdempotencyKeyRow, key)
        return None if row is None else (row.fingerprint, row.job_id)

    def add(self, key: str, fingerprint: str, job_id: str) -> None:
        row: Any = IdempotencyKeyRow(
            key=key, fingerprint=fingerprint, job_id=job_id, created_at=datetime.now(UTC)
        )
        insert(self._session, row, "that Idempotency-Key is already used")
