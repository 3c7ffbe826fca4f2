"""Records and databases for the suites of the repositories."""

from dataclasses import replace
from datetime import UTC, datetime

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.domain.job import JobState
from adaslide.ports.jobs import CompressRequest, JobRecord, PackageRecord, SlideRecord

REQUEST = CompressRequest("archive", dice_floor=0.9)


def slide_record(alias=None, **other):
    now = datetime.now(UTC)
    slide = SlideRecord(new_id(), alias, "source.svs", True, {"width": 9}, "0" * 64, now)
    return replace(slide, **other)


def job_record(slide, request=REQUEST, **other):
    now = datetime.now(UTC)
    job = JobRecord(
        new_id(), slide.id, new_id(), request, JobState.QUEUED, 0, 0, 0, None, 0.0, 0, now, None, None,
        tenant=slide.tenant,
    )  # fmt: skip
    return replace(job, **other)


def package_record(job, slide):
    now = datetime.now(UTC)
    return PackageRecord(
        job.package_id, slide.id, job.id, job.request, {"ratio": 0.2}, now, f"{job.package_id}.zarr"
    )


def opened(url, queue, *, migrated=False):
    engine = create_engine(url)
    if not migrated:
        upgrade(engine)
    database = SqlDatabase(engine, queue)
    yield database
    database.close()
