"""Jobs, their shards and their log in SQL."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from adaslide.adapters.db.repositories import insert, request_digest
from adaslide.adapters.db.tables import JobEventRow, JobRow, ShardRow
from adaslide.domain.errors import NotFound
from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import TRANSITIONS, JobState
from adaslide.ports.jobs import CompressRequest, JobEvent, JobRecord

_TERMINAL = [state.value for state in JobState if state.terminal]


def _job(row: JobRow) -> JobRecord:
    return JobRecord(
        id=row.id,
        slide_id=row.slide_id,
        package_id=row.package_id,
        request=CompressRequest(**row.request),
        state=JobState(row.state),
        done=row.done,
        total=row.total,
        attempts=row.attempts,
        problem=row.problem,
        seconds=row.seconds,
        peak_rss_bytes=row.peak_rss_bytes,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


class SqlJobs:
    """`JobRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, job: JobRecord) -> None:
        row = JobRow(
            id=job.id,
            slide_id=job.slide_id,
            package_id=job.package_id,
            request=asdict(job.request),
            request_digest=request_digest(job.request),
            state=job.state.value,
            created_at=job.created_at,
        )
        insert(self._session, row, "an unfinished job already does this work")
        self.log(job.id, "state", {"state": job.state.value})

    def get(self, job_id: str) -> JobRecord:
        row = self._session.get(JobRow, job_id, populate_existing=True)
        if row is None:
            raise NotFound("no such job")
        return _job(row)

    def _select(self, query: sa.Select[JobRow]) -> list[JobRecord]:
        fresh = query.execution_options(populate_existing=True)
        return [_job(row) for row in self._session.scalars(fresh)]

    def page(self, limit: int, before: str | None = None, slide_id: str | None = None) -> list[JobRecord]:
        query = sa.select(JobRow).order_by(JobRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(JobRow.id < before)
        if slide_id is not None:
            query = query.where(JobRow.slide_id == slide_id)
        return self._select(query)

    def unfinished(self) -> list[JobRecord]:
        return self._select(sa.select(JobRow).where(JobRow.state.not_in(_TERMINAL)).order_by(JobRow.id))

    def fruitless(self) -> list[JobRecord]:
        states = [JobState.FAILED.value, JobState.CANCELLED.value]
        return self._select(sa.select(JobRow).where(JobRow.state.in_(states)).order_by(JobRow.id))

    def active(self, slide_id: str, request: CompressRequest) -> JobRecord | None:
        found = self._select(
            sa.select(JobRow).where(
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
            changes["started_at"] = datetime.now(UTC)
        if target.terminal:
            changes["finished_at"] = datetime.now(UTC)
        changed = self._session.execute(
            sa.update(JobRow)
            .where(JobRow.id == job_id, JobRow.state.in_(sources))
            .values(**changes)
            .returning(JobRow.id)
        ).scalar_one_or_none()
        if changed is None:
            return False
        self.log(job_id, "state", {"state": target.value} | ({"problem": problem} if problem else {}))
        return True

    def begin_attempt(self, job_id: str) -> int:
        update = sa.update(JobRow).where(JobRow.id == job_id).values(attempts=JobRow.attempts + 1)
        return self._session.execute(update.returning(JobRow.attempts)).scalar_one()

    def add_shards(self, job_id: str, shards: dict[ShardIndex, int]) -> None:
        self._session.execute(sa.delete(ShardRow).where(ShardRow.job_id == job_id))
        self._session.add_all(
            ShardRow(job_id=job_id, row=shard.row, col=shard.col, patches=patches)
            for shard, patches in shards.items()
        )
        self._session.execute(
            sa.update(JobRow).where(JobRow.id == job_id).values(total=sum(shards.values()), done=0)
        )
        self.log(job_id, "progress", {"done": 0, "total": sum(shards.values())})

    def open_shards(self, job_id: str) -> list[ShardIndex]:
        query = (
            sa.select(ShardRow.row, ShardRow.col)
            .where(ShardRow.job_id == job_id, sa.not_(ShardRow.finished))
            .order_by(ShardRow.row, ShardRow.col)
        )
        return [ShardIndex(row, col) for row, col in self._session.execute(query)]

    def has_shards(self, job_id: str) -> bool:
        query = sa.select(sa.exists().where(ShardRow.job_id == job_id))
        return self._session.execute(query).scalar_one()

    def _update_shard(self, job_id: str, shard: ShardIndex) -> sa.Update:
        return sa.update(ShardRow).where(
            ShardRow.job_id == job_id, ShardRow.row == shard.row, ShardRow.col == shard.col
        )

    def begin_shard(self, job_id: str, shard: ShardIndex) -> int | None:
        update = (
            self._update_shard(job_id, shard)
            .where(sa.not_(ShardRow.finished))
            .values(attempts=ShardRow.attempts + 1, done=0)
        )
        return self._session.execute(update.returning(ShardRow.attempts)).scalar_one_or_none()

    def shard_attempts(self, job_id: str, shard: ShardIndex) -> int:
        row = self._session.get(ShardRow, (job_id, shard.row, shard.col), populate_existing=True)
        return 0 if row is None else row.attempts

    def shard_progress(self, job_id: str, shard: ShardIndex, done: int) -> None:
        self._session.execute(self._update_shard(job_id, shard).values(done=done))
        self._count_progress(job_id)

    def finish_shard(self, job_id: str, shard: ShardIndex) -> None:
        self._session.execute(self._update_shard(job_id, shard).values(finished=True, done=ShardRow.patches))
        self._count_progress(job_id)

    def _count_progress(self, job_id: str) -> None:
        done = sa.select(sa.func.coalesce(sa.func.sum(ShardRow.done), 0)).where(ShardRow.job_id == job_id)
        update = sa.update(JobRow).where(JobRow.id == job_id).values(done=done.scalar_subquery())
        counted = self._session.execute(update.returning(JobRow.done, JobRow.total)).one()
        self.log(job_id, "progress", {"done": counted.done, "total": counted.total})

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
        self._session.add(JobEventRow(job_id=job_id, at=datetime.now(UTC), kind=kind, data=data))

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        query = (
            sa.select(JobEventRow)
            .where(JobEventRow.job_id == job_id, JobEventRow.id > after)
            .order_by(JobEventRow.id)
            .limit(limit)
        )
        return [JobEvent(e.id, e.job_id, e.at, e.kind, e.data) for e in self._session.scalars(query)]
