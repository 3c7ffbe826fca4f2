"""A job that ends while the same work is asked for again, on the database in which that happens."""

from dataclasses import replace

import pytest

from adaslide.adapters.db.jobs import SqlJobs
from adaslide.adapters.db.repositories import SqlPackages
from adaslide.domain.job import JobState, Urgency
from adaslide.domain.profile import PROFILES
from adaslide.ports.jobs import RestoreRequest
from adaslide.settings import Compression
from adaslide_api.submission import Submitter
from adaslide_api.trail import Trail
from contract.records import REQUEST, job_record, opened, package_record, slide_record

WHOLE = replace(REQUEST, profile=PROFILES["archive"].id)


class NoQueue:
    """Nobody works."""

    def send(self, message):
        pass


@pytest.fixture
def database(postgres):
    yield from opened(postgres.fresh_database(), NoQueue())


@pytest.fixture
def slide(database):
    slide = slide_record("case 7", facts={"mpp": 0.5})
    with database.write() as unit:
        unit.slides.add(slide)
    return slide


def begun(database, slide, request):
    job = job_record(slide, request)
    with database.write() as unit:
        unit.jobs.add(job)
        for state in (JobState.RUNNING, JobState.VERIFYING):
            unit.jobs.transition(job.id, state)
    return job


@pytest.fixture
def ends_after_the_first_question(monkeypatch):
    """A function that has something done by another transaction after the submitter's first question."""

    def arrange(end):
        left = [end]

        def watched(owner, name):
            ask = getattr(owner, name)

            def asked(*args, **kwargs):
                answer = ask(*args, **kwargs)
                if left:
                    left.pop()()
                return answer

            monkeypatch.setattr(owner, name, asked)

        for owner, name in ((SqlJobs, "active"), (SqlJobs, "restored"), (SqlPackages, "matching")):
            watched(owner, name)

    return arrange


def test_a_compression_that_ends_meanwhile_is_not_queued_again(
    database, slide, ends_after_the_first_question
):
    job = begun(database, slide, WHOLE)

    def end():
        with database.write() as unit:
            unit.jobs.transition(job.id, JobState.SUCCEEDED)
            unit.packages.add(package_record(job, slide))

    ends_after_the_first_question(end)
    found = Submitter(database, Compression()).submit(slide, WHOLE, None, Urgency.ROUTINE, None, Trail())
    assert found.id == job.package_id


def test_a_restore_that_ends_meanwhile_is_not_queued_again(database, slide, ends_after_the_first_question):
    request = RestoreRequest("p" * 26, "tiff")
    job = begun(database, slide, request)

    def end():
        with database.write() as unit:
            unit.jobs.transition(job.id, JobState.SUCCEEDED)
            unit.jobs.set_result(job.id, {"bytes": 9})

    ends_after_the_first_question(end)
    found = Submitter(database, Compression()).restore(slide, request, None, None, Trail())
    assert found.id == job.id
