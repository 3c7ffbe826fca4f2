"""Jobs and their log in SQL."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from adaslide.adapters.db.records import job_record
from adaslide.adapters.db.repositories import insert, request_digest
from adaslide.adapters.db.tables import JobEventRow, JobRow, ShardRow, utc_now
from adaslide.domain.access import DEFAULT_TENANT
from adaslide.domain.errors import NotFound
from adaslide.domain.job import TRANSITIONS, JobKind, JobState
from adaslide.ports.jobs import JobEvent, JobRecord, JobRequest, RestoreRequest, request_fields
from adaslide.ports.queue import Message, Task

_TERMINAL = [state.value for state in JobState if state.terminal]
_UNDER_WAY = (
    sa.select(sa.func.coalesce(sa.func.sum(ShardRow.done), 0))
    .where(ShardRow.job_id == JobRow.id, sa.not_(ShardRow.finished))
    .scalar_subquery()
)
_MOST_ATTEMPTS = (
    sa.select(sa.func.coalesce(sa.func.max(ShardRow.attempts), 0))
    .where(ShardRow.job_id == JobRow.id)
    .scalar_subquery()
)
_WHOLE = sa.select(JobRow, _UNDER_WAY, _MOST_ATTEMPTS)


class SqlJobs:
    """`JobRepository`."""

    def __init__(self, session: Session, send: Callable[[Message], None]) -> None:
        self._session = session
        self._send = send

    def add(self, job: JobRecord) -> None:
        row = JobRow(
            id=job.id,
            slide_id=job.slide_id,
            package_id=job.package_id,
            request=request_fields(job.request),
            request_digest=request_digest(job.request),
            state=job.state.value,
            created_at=job.created_at,
            tenant=job.tenant,
            urgency=job.urgency.value,
            callback_url=job.callback_url,
            kind=job.kind.value,
        )
        insert(self._session, row, "an unfinished job already does this work")
        self.log(job.id, "state", {"state": job.state.value})

    def get(self, job_id: str, tenant: str | None = None) -> JobRecord:
        query = _WHOLE.where(JobRow.id == job_id)
        found = self._select(query if tenant is None else query.where(JobRow.tenant == tenant))
        if not found:
            raise NotFound("no such job")
        return found[0]

    def _select(self, query: sa.Select[JobRow, int, int]) -> list[JobRecord]:
        fresh = query.execution_options(populate_existing=True)
        rows = self._session.execute(fresh)
        return [job_record(row, row.done + more, max(row.attempts, tried)) for row, more, tried in rows]

    def page(
        self,
        limit: int,
        before: str | None = None,
        slide_id: str | None = None,
        tenant: str = DEFAULT_TENANT,
        state: JobState | None = None,
    ) -> list[JobRecord]:
        wanted = [JobRow.tenant == tenant]
        if before is not None:
            wanted.append(JobRow.id < before)
        if slide_id is not None:
            wanted.append(JobRow.slide_id == slide_id)
        if state is not None:
            wanted.append(JobRow.state == state.value)
        query = _WHOLE.where(*wanted).order_by(JobRow.id.desc()).limit(limit)
        return self._select(query)

    def unfinished(self) -> list[JobRecord]:
        query = _WHOLE.where(JobRow.state.not_in(_TERMINAL)).order_by(JobRow.id)
        return self._select(query)

    def count_unfinished(self, tenant: str) -> tuple[int, int]:
        own = sa.func.coalesce(sa.func.sum(sa.case((JobRow.tenant == tenant, 1), else_=0)), 0)
        query = sa.select(sa.func.count(), own).where(JobRow.state.not_in(_TERMINAL))
        count, of_tenant = self._session.execute(query).one()
        return count, of_tenant

    def active(self, slide_id: str, request: JobRequest) -> JobRecord | None:
        found = self._select(
            _WHOLE.where(
                JobRow.slide_id == slide_id,
                JobRow.request_digest == request_digest(request),
                JobRow.state.not_in(_TERMINAL),
            )
        )
        return found[0] if found else None

    def transition(self, job_id: str, target: JobState, *, problem: dict[str, Any] | None = None) -> bool:
        sources = [state.value for state, targets in TRANSITIONS.items() if target in targets]
        changes: dict[str, Any] = {"state": target.value, "problem": problem}
        if target is JobState.RUNNING:
            changes["started_at"] = utc_now()
        if target.terminal:
            changes |= {"finished_at": utc_now(), "told": JobRow.callback_url.is_(None)}
        if target is JobState.QUEUED:
            changes |= {"finished_at": None, "attempts": 0, "done": 0, "total": 0, "open": 0}
            changes |= {"swept": False, "told": True}
        told = self._session.execute(
            sa.update(JobRow)
            .where(JobRow.id == job_id, JobRow.state.in_(sources))
            .values(**changes)
            .returning(JobRow.told)
        ).scalar_one_or_none()
        if told is None:
            return False
        if target is JobState.QUEUED:
            self._session.execute(sa.delete(ShardRow).where(ShardRow.job_id == job_id))
        self.log(job_id, "state", {"state": target.value} | ({"problem": problem} if problem else {}))
        if target.terminal and not told:
            self._send(Message(Task.NOTIFY, (job_id,)))
        return True

    def begin_attempt(self, job_id: str) -> int:
        update = sa.update(JobRow).where(JobRow.id == job_id).values(attempts=JobRow.attempts + 1)
        return self._session.execute(update.returning(JobRow.attempts)).scalar_one()

    def set_progress(self, job_id: str, done: int, total: int) -> None:
        running = JobRow.id == job_id, JobRow.state == JobState.RUNNING.value
        before = self._session.execute(sa.select(JobRow.done, JobRow.total).where(*running)).one_or_none()
        if before is None or before == (done, total):
            return
        self._session.execute(sa.update(JobRow).where(*running).values(done=done, total=total))
        if before.total != total or done == total:
            self.log(job_id, "progress", {"done": done, "total": total})

    def restored(self, slide_id: str, request: RestoreRequest) -> JobRecord | None:
        query = _WHOLE.where(
            JobRow.slide_id == slide_id,
            JobRow.request_digest == request_digest(request),
            JobRow.state == JobState.SUCCEEDED.value,
            JobRow.result.is_not(None),
        )
        found = self._select(query.order_by(JobRow.id.desc()).limit(1))
        return found[0] if found else None

    def add_work(self, job_id: str, seconds: float, peak_rss_bytes: int) -> None:
        higher = sa.case(
            (JobRow.peak_rss_bytes < peak_rss_bytes, peak_rss_bytes), else_=JobRow.peak_rss_bytes
        )
        self._session.execute(
            sa.update(JobRow)
            .where(JobRow.id == job_id)
            .values(seconds=JobRow.seconds + seconds, peak_rss_bytes=higher)
        )

    def log(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        self._session.add(JobEventRow(job_id=job_id, at=utc_now(), kind=kind, data=data))

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        query = (
            sa.select(JobEventRow)
            .where(JobEventRow.job_id == job_id, JobEventRow.id > after)
            .order_by(JobEventRow.id)
            .limit(limit)
        )
        return [JobEvent(e.id, e.job_id, e.at, e.kind, e.data) for e in self._session.scalars(query)]

    def unswept(self, older_than_s: float) -> list[JobRecord]:
        old = utc_now() - timedelta(seconds=older_than_s)
        query = (
            _WHOLE.where(JobRow.state.in_(_TERMINAL), sa.not_(JobRow.swept), JobRow.finished_at <= old)
            .order_by(JobRow.id)
            .limit(100)
        )
        return self._select(query)

    def set_result(self, job_id: str, result: dict[str, Any]) -> None:
        self._session.execute(sa.update(JobRow).where(JobRow.id == job_id).values(result=result))

    def expire_results(self, older_than_s: float) -> None:
        old = utc_now() - timedelta(seconds=older_than_s)
        kept = JobRow.kind == JobKind.RESTORE.value, JobRow.result.is_not(None), JobRow.finished_at <= old
        self._session.execute(sa.update(JobRow).where(*kept).values(result=None, swept=False))

    def mark_told(self, job_id: str) -> None:
        self._session.execute(sa.update(JobRow).where(JobRow.id == job_id).values(told=True))

    def mark_swept(self, job_id: str) -> None:
        self._session.execute(sa.update(JobRow).where(JobRow.id == job_id).values(swept=True))
