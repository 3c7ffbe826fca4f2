"""Rows as the records of `ports.jobs`."""

from adaslide.adapters.db.tables import JobRow, PackageRow, SlideRow
from adaslide.domain.job import JobKind, JobState, Urgency
from adaslide.ports.jobs import CompressRequest, JobRecord, PackageRecord, RestoreRequest, SlideRecord


def slide_record(row: SlideRow) -> SlideRecord:
    """The row, field by field."""
    return SlideRecord(
        row.id,
        row.alias,
        row.source,
        row.staged,
        row.facts,
        row.sha256,
        row.created_at,
        row.tenant,
        row.hold,
    )


def package_record(row: PackageRow) -> PackageRecord:
    """The row, field by field."""
    return PackageRecord(
        row.id,
        row.slide_id,
        row.job_id,
        CompressRequest(**row.request),
        row.totals,
        row.created_at,
        row.location,
        row.hold,
    )


def job_record(row: JobRow, done: int, attempts: int) -> JobRecord:
    """``done`` counts the patches of shards under way too, ``attempts`` is that of whatever part of the job
    was begun most often."""
    request = RestoreRequest if row.kind == JobKind.RESTORE.value else CompressRequest
    return JobRecord(
        id=row.id,
        slide_id=row.slide_id,
        package_id=row.package_id,
        request=request(**row.request),
        state=JobState(row.state),
        done=done,
        total=row.total,
        attempts=attempts,
        problem=row.problem,
        seconds=row.seconds,
        peak_rss_bytes=row.peak_rss_bytes,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        tenant=row.tenant,
        urgency=Urgency(row.urgency),
        callback_url=row.callback_url,
        result=row.result,
        told=row.told,
    )
