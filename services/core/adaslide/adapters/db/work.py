"""Leases, shards and the outbox in SQL: few statements, each safe beside any number of workers."""

from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, aliased

from adaslide.adapters.db.clock import db_now, epoch
from adaslide.adapters.db.records import job_record, slide_record
from adaslide.adapters.db.tables import (
    JobEventRow,
    JobRow,
    LeaseRow,
    OutboxRow,
    PulseRow,
    ShardRow,
    SlideRow,
    utc_now,
)
from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import JobKind, JobState
from adaslide.ports.gauges import ShardState, WorkGauges
from adaslide.ports.queue import Message, Task
from adaslide.ports.work import CANARY, ShardClaim, ShardLease

Insert = Callable[[Any], Any]
_RUNNING = JobRow.state == JobState.RUNNING.value
_FREE = sa.and_(sa.not_(ShardRow.finished), ShardRow.lease_until < db_now(), ShardRow.not_before <= db_now())
_COMPRESSING = {
    JobState.QUEUED: Task.PLAN,
    JobState.RUNNING: Task.PLAN,
    JobState.VERIFYING: Task.FINALIZE,
    JobState.CANCELLING: Task.SETTLE,
}


def _waker(state: JobState, kind: JobKind) -> Task:
    if state.terminal:
        return Task.NOTIFY
    if kind is JobKind.RESTORE and state is not JobState.CANCELLING:
        return Task.EXPORT
    return _COMPRESSING[state]


class SqlWork:
    """`WorkRepository`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _upsert(self, table: Any) -> Any:
        """INSERT ... ON CONFLICT, which each dialect spells for itself."""
        dialect = self._session.get_bind().dialect.name
        return cast("Insert", postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)

    def _changed(self, statement: sa.Update | sa.Delete) -> bool:
        result = cast("sa.CursorResult[Any]", self._session.execute(statement))
        return result.rowcount > 0

    def add_shards(self, job_id: str, shards: dict[ShardIndex, int]) -> None:
        self._session.execute(sa.delete(ShardRow).where(ShardRow.job_id == job_id))
        self._session.add_all(
            ShardRow(job_id=job_id, row=shard.row, col=shard.col, patches=patches)
            for shard, patches in shards.items()
        )
        total = sum(shards.values())
        self._session.execute(
            sa.update(JobRow).where(JobRow.id == job_id).values(total=total, done=0, open=len(shards))
        )
        self._log(job_id, "progress", {"done": 0, "total": total})

    def _log(self, job_id: str, kind: str, data: dict[str, Any]) -> None:
        self._session.execute(
            sa.insert(JobEventRow).values(job_id=job_id, at=utc_now(), kind=kind, data=data)
        )

    def planned(self, job_id: str) -> bool:
        return self._session.execute(sa.select(sa.exists().where(ShardRow.job_id == job_id))).scalar_one()

    def claim_shard(self, holder: str, lease_s: float) -> ShardClaim | None:
        other, others = aliased(ShardRow), aliased(JobRow)
        served = (
            sa.select(sa.func.count())
            .select_from(other)
            .join(others, others.id == other.job_id)
            .where(sa.not_(other.finished), other.lease_until >= db_now(), others.tenant == JobRow.tenant)
            .scalar_subquery()
        )
        found = self._session.execute(
            sa.select(ShardRow, JobRow, SlideRow)
            .join(JobRow, JobRow.id == ShardRow.job_id)
            .join(SlideRow, SlideRow.id == JobRow.slide_id)
            .where(_FREE, _RUNNING)
            .order_by(JobRow.urgency, served, ShardRow.job_id, ShardRow.row, ShardRow.col)
            .limit(1)
            .with_for_update(of=ShardRow, skip_locked=True)
        ).first()
        if found is None:
            return None
        shard, job, slide = found
        lease = ShardLease(job.id, ShardIndex(shard.row, shard.col), shard.token + 1, shard.attempts + 1)
        claim = ShardClaim(
            lease,
            job_record(job, job.done, job.attempts),
            slide_record(slide),
            taken_over=shard.holder is not None,
        )
        self._session.execute(
            sa.update(ShardRow)
            .where(
                ShardRow.job_id == job.id,
                ShardRow.row == shard.row,
                ShardRow.col == shard.col,
            )
            .values(
                token=lease.token,
                attempts=lease.attempt,
                holder=holder,
                done=0,
                lease_until=db_now() + lease_s,
            )
        )
        return claim

    @staticmethod
    def _held(lease: ShardLease) -> sa.Update:
        return sa.update(ShardRow).where(
            ShardRow.job_id == lease.job_id,
            ShardRow.row == lease.shard.row,
            ShardRow.col == lease.shard.col,
            ShardRow.token == lease.token,
            sa.not_(ShardRow.finished),
        )

    def beat_shard(self, lease: ShardLease, done: int, lease_s: float) -> bool:
        goes_on = sa.exists().where(JobRow.id == lease.job_id, _RUNNING)
        return self._changed(
            self._held(lease).where(goes_on).values(done=done, lease_until=db_now() + lease_s)
        )

    def finish_shard(self, lease: ShardLease, seconds: float, peak_rss_bytes: int) -> int | None:
        # The job's row first: whoever counts down to none must have seen all the others' shards.
        peak = sa.case((JobRow.peak_rss_bytes < peak_rss_bytes, peak_rss_bytes), else_=JobRow.peak_rss_bytes)
        patches = (
            sa.select(ShardRow.patches)
            .where(
                ShardRow.job_id == lease.job_id,
                ShardRow.row == lease.shard.row,
                ShardRow.col == lease.shard.col,
            )
            .scalar_subquery()
        )
        job = self._session.execute(
            sa.update(JobRow)
            .where(JobRow.id == lease.job_id, _RUNNING)
            .values(
                open=JobRow.open - 1,
                done=JobRow.done + patches,
                seconds=JobRow.seconds + seconds,
                peak_rss_bytes=peak,
            )
            .returning(JobRow.open, JobRow.done, JobRow.total)
        ).one_or_none()
        if job is None:
            return None
        mine = self._held(lease).values(finished=True, done=ShardRow.patches, lease_until=0.0, holder=None)
        if not self._changed(mine):
            undo = sa.update(JobRow).where(JobRow.id == lease.job_id)
            self._session.execute(undo.values(open=JobRow.open + 1, done=JobRow.done - patches))
            return None
        self._log(lease.job_id, "progress", {"done": job.done, "total": job.total})
        return int(job.open)

    def release_shard(self, lease: ShardLease, delay: float = 0.0, *, blameless: bool = False) -> bool:
        values: dict[str, Any] = {"lease_until": 0.0, "holder": None, "not_before": db_now() + delay}
        if blameless:
            values["attempts"] = ShardRow.attempts - 1
        return self._changed(self._held(lease).values(**values))

    def winners(self, job_id: str) -> dict[ShardIndex, int]:
        query = sa.select(ShardRow.row, ShardRow.col, ShardRow.token).where(
            ShardRow.job_id == job_id, ShardRow.finished
        )
        return {ShardIndex(row, col): token for row, col, token in self._session.execute(query)}

    def claim(self, name: str, holder: str, lease_s: float) -> int | None:
        until = db_now() + lease_s
        insert = self._upsert(LeaseRow).values(name=name, token=1, holder=holder, until=until)
        taken = {"token": LeaseRow.token + 1, "holder": holder, "until": until}
        claim = insert.on_conflict_do_update(
            index_elements=["name"], set_=taken, where=LeaseRow.until < db_now()
        ).returning(LeaseRow.token)
        token: int | None = self._session.execute(claim).scalar_one_or_none()
        return token

    @staticmethod
    def _named(name: str, token: int) -> sa.Update:
        return sa.update(LeaseRow).where(LeaseRow.name == name, LeaseRow.token == token)

    def beat(self, name: str, token: int, lease_s: float) -> bool:
        return self._changed(self._named(name, token).values(until=db_now() + lease_s))

    def release(self, name: str, token: int) -> None:
        self._session.execute(self._named(name, token).values(until=0.0))

    def forget_leases(self) -> None:
        self._session.execute(sa.update(LeaseRow).values(until=0.0))
        self._session.execute(sa.update(ShardRow).values(lease_until=0.0, holder=None, not_before=0.0))
        self._session.execute(sa.update(OutboxRow).values(due=0.0))
        self._session.execute(sa.update(JobRow).values(woken=0.0))

    def waiting(self) -> int:
        query = sa.select(sa.func.count()).select_from(ShardRow).join(JobRow, JobRow.id == ShardRow.job_id)
        return self._session.execute(query.where(_FREE, _RUNNING)).scalar_one()

    def gauges(self) -> WorkGauges:
        leased = ShardRow.lease_until >= db_now()
        delayed = sa.and_(sa.not_(leased), ShardRow.not_before > db_now())
        counted = self._session.execute(
            sa.select(
                sa.func.count(),
                sa.func.coalesce(sa.func.sum(sa.case((leased, 1), else_=0)), 0),
                sa.func.coalesce(sa.func.sum(sa.case((delayed, 1), else_=0)), 0),
            )
            .select_from(ShardRow)
            .join(JobRow, JobRow.id == ShardRow.job_id)
            .where(sa.not_(ShardRow.finished), _RUNNING)
        )
        every, held, late = counted.one()
        shards = {
            ShardState.CLAIMABLE: every - held - late,
            ShardState.LEASED: held,
            ShardState.DELAYED: late,
        }
        jobs = self._session.execute(sa.select(JobRow.state, sa.func.count()).group_by(JobRow.state))
        # Since when: what was given back waits since then, what never was since its job began.
        since = sa.func.min(
            sa.case((ShardRow.not_before > 0, ShardRow.not_before), else_=epoch(JobRow.started_at))
        )
        oldest = self._session.execute(
            sa.select(db_now() - since)
            .select_from(ShardRow)
            .join(JobRow, JobRow.id == ShardRow.job_id)
            .where(_FREE, _RUNNING)
        ).scalar_one()
        return WorkGauges(
            oldest_claimable_s=max(0.0, oldest or 0.0),
            shards={state: count for state, count in shards.items() if count},
            jobs={JobState(name): count for name, count in jobs},
            canary_age_s=self.pulse_age(CANARY),
        )

    def wake(self, after_s: float) -> list[Message]:
        leased = (
            sa.select(LeaseRow.name)
            .where(LeaseRow.until >= db_now(), LeaseRow.name.in_(_step_names()))
            .exists()
        )
        unplanned = sa.not_(sa.exists().where(ShardRow.job_id == JobRow.id))
        silent = sa.or_(JobRow.state != JobState.RUNNING.value, unplanned, JobRow.open == 0)
        jobs = self._session.execute(
            sa.select(JobRow.id, JobRow.state, JobRow.kind)
            .where(sa.or_(JobRow.state.in_([state.value for state in _COMPRESSING]), sa.not_(JobRow.told)))
            .where(JobRow.woken <= db_now() - after_s, silent, sa.not_(leased))
            .order_by(JobRow.urgency, JobRow.id)
            .limit(1000)
            .with_for_update(of=JobRow, skip_locked=True)
        ).all()
        if jobs:
            woken = sa.update(JobRow).where(JobRow.id.in_([job.id for job in jobs]))
            self._session.execute(woken.values(woken=db_now()))
        return [Message(_waker(JobState(job.state), JobKind(job.kind)), (job.id,)) for job in jobs]

    def unsent(self, limit: int) -> dict[str, Message]:
        rows = self._session.scalars(
            sa.select(OutboxRow)
            .where(OutboxRow.due <= db_now())
            .order_by(OutboxRow.due)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        return {row.id: Message(Task(row.task), tuple(row.args)) for row in rows}

    def sent(self, ids: list[str]) -> None:
        self._session.execute(sa.delete(OutboxRow).where(OutboxRow.id.in_(ids)))

    def pulse(self, name: str) -> None:
        insert = self._upsert(PulseRow).values(name=name, at=db_now())
        self._session.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"at": db_now()}))

    def pulse_age(self, name: str) -> float | None:
        query = sa.select(db_now() - PulseRow.at).where(PulseRow.name == name)
        age: float | None = self._session.execute(query).scalar_one_or_none()
        return age


def _step_names() -> list[sa.ColumnElement[str]]:
    """The names under which steps of the outer query's job are leased; see `ports.work`."""
    return [sa.literal(f"{step}/").concat(JobRow.id) for step in ("plan", "finalize", "export", "notify")]
