"""Uploads in SQL."""

from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from adaslide.adapters.db.tables import ID, TENANT, Base, utc_now
from adaslide.domain.errors import NotFound
from adaslide.ports.uploads import UploadRecord


class UploadRow(Base):
    """An upload and how far it has come. ``ended``: its bytes are to be removed, and then the row."""

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    tenant: Mapped[str] = mapped_column(TENANT)
    name: Mapped[str] = mapped_column(sa.String(16))
    length: Mapped[int] = mapped_column(sa.BigInteger)
    received: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    place: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    slide_id: Mapped[str | None] = mapped_column(ID, sa.ForeignKey("slides.id"))
    ended: Mapped[bool] = mapped_column(default=False)


def _record(row: UploadRow) -> UploadRecord:
    return UploadRecord(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        length=row.length,
        place=row.place,
        created_at=row.created_at,
        expires_at=row.expires_at,
        received=row.received,
        slide_id=row.slide_id,
    )


class SqlUploads:
    """`UploadRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, upload: UploadRecord) -> None:
        self._session.add(
            UploadRow(
                id=upload.id,
                tenant=upload.tenant,
                name=upload.name,
                length=upload.length,
                received=upload.received,
                place=dict(upload.place),
                created_at=upload.created_at,
                expires_at=upload.expires_at,
                slide_id=upload.slide_id,
            )
        )
        self._session.flush()

    def find(self, upload_id: str, tenant: str) -> UploadRecord:
        query = (
            sa.select(UploadRow)
            .where(UploadRow.id == upload_id, UploadRow.tenant == tenant, *_alive())
            .execution_options(populate_existing=True)
        )
        row = self._session.scalars(query).first()
        if row is None:
            raise NotFound("no such upload")
        return _record(row)

    def advance(self, upload_id: str, received: int, now_received: int, expires_at: datetime) -> bool:
        update = _open(upload_id).where(UploadRow.received == received)
        return self._changed(update.values(received=now_received, expires_at=expires_at))

    def become(self, upload_id: str, slide_id: str) -> bool:
        return self._changed(_open(upload_id).values(slide_id=slide_id))

    def end(self, upload_id: str) -> bool:
        return self._changed(_open(upload_id).values(ended=True))

    def expire(self) -> None:
        over = sa.and_(UploadRow.expires_at <= utc_now(), sa.not_(UploadRow.ended))
        kept = UploadRow.slide_id == UploadRow.id
        self._session.execute(sa.delete(UploadRow).where(over, kept))
        self._session.execute(sa.update(UploadRow).where(over).values(ended=True))

    def ended(self, limit: int = 100) -> list[UploadRecord]:
        query = sa.select(UploadRow).where(UploadRow.ended).order_by(UploadRow.expires_at).limit(limit)
        return [_record(row) for row in self._session.scalars(query)]

    def forget(self, upload_id: str) -> None:
        self._session.execute(sa.delete(UploadRow).where(UploadRow.id == upload_id))

    def _changed(self, update: sa.Update) -> bool:
        return cast("sa.CursorResult[Any]", self._session.execute(update)).rowcount > 0


def _alive() -> list[sa.ColumnElement[bool]]:
    return [sa.not_(UploadRow.ended), UploadRow.expires_at > utc_now()]


def _open(upload_id: str) -> sa.Update:
    return sa.update(UploadRow).where(UploadRow.id == upload_id, UploadRow.slide_id.is_(None), *_alive())
