"""API keys and the audit log in SQL."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from adaslide.adapters.db.repositories import insert
from adaslide.adapters.db.security_tables import ApiKeyRow, AuditHeadRow, AuditRow
from adaslide.domain.access import Role
from adaslide.domain.audit import AuditEntry, AuditHead, AuditRecord, Outcome, canonical
from adaslide.domain.errors import NotFound
from adaslide.ports.security import ApiKeyRecord, AuditFilter

USE_IS_KEPT_FOR = timedelta(hours=1)


def _key(row: ApiKeyRow) -> ApiKeyRecord:
    return ApiKeyRecord(
        row.id,
        row.tenant,
        frozenset(map(Role, row.roles.split(","))),
        row.digest,
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.last_used_at,
    )


class SqlApiKeys:
    """`ApiKeyRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, key: ApiKeyRecord) -> None:
        row = ApiKeyRow(
            id=key.id,
            tenant=key.tenant,
            roles=",".join(sorted(key.roles)),
            digest=key.digest,
            created_at=key.created_at,
            expires_at=key.expires_at,
        )
        insert(self._session, row, "that id is taken")

    def find(self, key_id: str) -> ApiKeyRecord | None:
        row = self._session.get(ApiKeyRow, key_id, populate_existing=True)
        return None if row is None else _key(row)

    def all(self, tenant: str | None = None) -> list[ApiKeyRecord]:
        query = sa.select(ApiKeyRow).order_by(ApiKeyRow.id.desc())
        if tenant is not None:
            query = query.where(ApiKeyRow.tenant == tenant)
        return [_key(row) for row in self._session.scalars(query)]

    def revoke(self, key_id: str, at: datetime) -> ApiKeyRecord:
        update = sa.update(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
        self._session.execute(update.values(revoked_at=at))
        found = self.find(key_id)
        if found is None:
            raise NotFound("no such key")
        return found

    def used(self, key_id: str, at: datetime) -> None:
        stale = sa.or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at <= at - USE_IS_KEPT_FOR)
        self._session.execute(
            sa.update(ApiKeyRow).where(ApiKeyRow.id == key_id, stale).values(last_used_at=at)
        )


def _record(row: AuditRow) -> AuditRecord:
    objects: dict[str, Any] = json.loads(row.objects)
    entry = AuditEntry(row.tenant, row.principal, row.action, Outcome(row.outcome), objects)
    return AuditRecord(row.seq, row.at, entry, row.previous, row.hash)


class SqlAudit:
    """`AuditRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, entry: AuditEntry) -> AuditRecord:
        # Where rows can be locked this one is; SQLite's unit of work holds the whole database already.
        end = self._session.scalars(
            sa.select(AuditHeadRow).with_for_update().execution_options(populate_existing=True)
        ).one()
        record = AuditRecord.after(AuditHead(end.seq, end.hash), datetime.now(UTC), entry)
        self._session.add(
            AuditRow(
                seq=record.seq,
                at=record.at,
                tenant=entry.tenant,
                principal=entry.principal,
                action=entry.action,
                outcome=entry.outcome.value,
                objects=canonical(dict(entry.objects)),
                previous=record.previous,
                hash=record.hash,
            )
        )
        end.seq, end.hash = record.seq, record.hash
        self._session.flush()
        return record

    def head(self) -> AuditHead:
        end = self._session.scalars(sa.select(AuditHeadRow).execution_options(populate_existing=True)).one()
        return AuditHead(end.seq, end.hash)

    def newest(self, wanted: AuditFilter, limit: int, before: int | None = None) -> list[AuditRecord]:
        query = sa.select(AuditRow).where(*_where(wanted)).order_by(AuditRow.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(AuditRow.seq < before)
        return [_record(row) for row in self._session.scalars(query)]

    def oldest(self, wanted: AuditFilter, limit: int, after: int = 0) -> list[AuditRecord]:
        query = sa.select(AuditRow).where(*_where(wanted), AuditRow.seq > after)
        return [_record(row) for row in self._session.scalars(query.order_by(AuditRow.seq).limit(limit))]


def _where(wanted: AuditFilter) -> list[sa.ColumnElement[bool]]:
    equal = {
        AuditRow.tenant: wanted.tenant,
        AuditRow.principal: wanted.principal,
        AuditRow.action: wanted.action,
        AuditRow.outcome: wanted.outcome,
    }
    where = [column == value for column, value in equal.items() if value is not None]
    if wanted.object_id is not None:
        where.append(AuditRow.objects.contains(f'"{wanted.object_id}"', autoescape=True))
    if wanted.since is not None:
        where.append(AuditRow.at >= wanted.since)
    if wanted.until is not None:
        where.append(AuditRow.at < wanted.until)
    return where
