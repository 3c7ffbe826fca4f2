"""A restored file is complete, fenced and temporary, or it is not there."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.jobs import SqlJobs
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.workspace import EXPORT_KEY
from adaslide.domain.errors import ChecksumMismatch, StoreUnavailable
from adaslide.domain.job import JobState
from adaslide.ports.jobs import CompressRequest, JobRecord, PackageRecord, RestoreRequest
from adaslide.ports.queue import Message, Task
from adaslide.settings import Compression
from adaslide_worker.export_job import ExportJobs, check_stored
from adaslide_worker.reconciler import Reconciler

RULES = Compression(attempts=3, beat_s=1e-6, lease_s=5, reconcile_s=0.01)


@pytest.fixture
def exporting(bench, exact_package):
    """`bench` with a job that restores the sample's exact package; ``bench.exports`` is its worker."""
    path, totals = exact_package
    bench.run()
    package_id, now = new_id(), datetime.now(UTC)
    location = f"{package_id}-1.zarr"
    source, target = FilesystemStore(path), bench.workspace.package(location)
    for key, _ in source.list():
        target.put(key, source.get(key))
    with bench.database.write() as unit:
        slide = unit.slides.get(unit.jobs.get(bench.id).slide_id)
        made = replace(unit.jobs.get(bench.id), id=new_id(), package_id=package_id, state=JobState.QUEUED)
        unit.jobs.add(made)
        assert all(
            unit.jobs.transition(made.id, state)
            for state in (JobState.RUNNING, JobState.VERIFYING, JobState.SUCCEEDED)
        )
        unit.packages.add(
            PackageRecord(package_id, slide.id, made.id, CompressRequest("exact"), totals, now, location)
        )
    job = JobRecord(
        new_id(), slide.id, new_id(), RestoreRequest(package_id, "tiff", 3), JobState.QUEUED,
        0, 0, 0, None, 0.0, 0, now, None, None,
    )  # fmt: skip
    with bench.database.write() as unit:
        unit.jobs.add(job)
        unit.send(Message(Task.EXPORT, (job.id,)))
    bench.id = job.id
    folder = bench.root / "exporting"
    bench.exports = ExportJobs(bench.runner, bench.database, bench.workspace, RULES, folder)
    bench.bodies[Task.EXPORT] = bench.exports.export
    return bench


def stored(bench):
    return [key for key, _ in bench.workspace.store.list("exports/")]


def test_the_file_is_kept_under_its_token(exporting):
    job = exporting.run()
    assert (job.state, job.result["token"], job.result["restored"]) == (JobState.SUCCEEDED, 1, False)
    assert stored(exporting) == [f"exports/{job.id}/1/slide.tif"]
    assert exporting.workspace.export(job.id, 1).size(EXPORT_KEY) == job.result["bytes"]
    assert list((exporting.root / "exporting").iterdir()) == []
    assert [k for k in exporting.kinds() if k == "state"] == ["state"] * 4


def progress_events(bench):
    with bench.database.read() as unit:
        return [event.data for event in unit.jobs.events(bench.id) if event.kind == "progress"]


def test_progress_is_noted_while_it_runs(exporting):
    seen = []

    def look(key):
        with exporting.database.read() as unit:
            job = unit.jobs.get(exporting.id)
        seen.append((job.state, job.done, job.total))

    before_reads(exporting, look)
    job = exporting.run()
    assert (job.state, job.done, job.total) == (JobState.SUCCEEDED, 35, 35)
    done = [done for state, done, total in seen if total]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert {state for state, _, _ in seen} == {JobState.RUNNING}
    assert [event["done"] for event in progress_events(exporting)] == [0, 35]


def test_progress_costs_few_transactions(exporting, monkeypatch):
    """However often a package is read: one a beat."""
    exporting.exports._rules = Compression(beat_s=3600)
    written = []
    monkeypatch.setattr(SqlJobs, "set_progress", lambda *arguments: written.append(arguments[2:]))
    assert exporting.run().state is JobState.SUCCEEDED
    assert written == [(35, 35)]


def test_a_lost_lease_notes_nothing(exporting):
    def steal(key):
        with exporting.database.write() as unit:
            unit.work.release(f"export/{exporting.id}", 1)
            unit.work.claim(f"export/{exporting.id}", "another", 3600)

    before_reads(exporting, steal)
    exporting.step()
    assert (exporting.job.state, exporting.job.done) == (JobState.RUNNING, 0)


class Wrapped:
    """A store whose reads of the package do something first."""

    def __init__(self, store, before):
        self.store, self.before = store, before

    def __getattr__(self, name):
        return getattr(self.store, name)

    def get_range(self, key, start, length):
        self.before(key)
        return self.store.get_range(key, start, length)


def before_reads(bench, before):
    package = bench.workspace.package
    bench.workspace.package = lambda location: Wrapped(package(location), before)


def test_a_cancelled_job_ends_while_it_reads(exporting):
    reads = []

    def cancel(key):
        reads.append(key)
        with exporting.database.write() as unit:
            unit.jobs.transition(exporting.id, JobState.CANCELLING)

    before_reads(exporting, cancel)
    assert exporting.run().state is JobState.CANCELLED
    assert len(reads) == 1
    assert stored(exporting) == []


def test_a_process_that_stops_gives_the_job_back(exporting):
    before_reads(exporting, lambda key: exporting.runner.stopping.set())
    job = exporting.run()
    assert job.state is JobState.RUNNING
    exporting.runner.stopping.clear()
    del exporting.workspace.package
    job = exporting.run()
    assert (job.state, job.result["token"]) == (JobState.SUCCEEDED, 2)


def test_a_passing_error_is_tried_again_and_a_lasting_one_is_not(exporting):
    errors = [StoreUnavailable("busy")]

    def fail(key):
        if errors:
            raise errors.pop()

    before_reads(exporting, fail)
    assert exporting.run().state is JobState.SUCCEEDED
    assert exporting.delays() == [2.0]


def test_a_package_that_is_gone_fails_the_job(exporting):
    with exporting.database.write() as unit:
        unit.packages.remove(unit.jobs.get(exporting.id).restoration.package)
    job = exporting.run()
    assert (job.state, job.problem["code"]) == (JobState.FAILED, "not-found")


def test_what_a_lost_lease_wrote_is_swept(exporting):
    exporting.workspace.export(exporting.id, 7).put(EXPORT_KEY, b"of a worker that was thought dead")
    job = exporting.run()
    exporting.workspace.sweep(job, None)
    assert stored(exporting) == [f"exports/{job.id}/1/slide.tif"]


def test_results_expire(exporting):
    job = exporting.run()
    rules = Compression(lease_s=1e-6, reconcile_s=1e-6, result_s=1e-6)
    reconciler = Reconciler(exporting.database, exporting, exporting.workspace, rules, "sweeper")
    for _ in range(2):
        reconciler.look()
    assert (exporting.job.state, exporting.job.result) == (JobState.SUCCEEDED, None)
    assert stored(exporting) == []
    assert exporting.job.id == job.id


@pytest.mark.parametrize("data", [b"wrong", b"short", b""])
def test_a_file_that_was_stored_wrongly_is_found(tmp_path, data):
    store = FilesystemStore(tmp_path)
    store.put(EXPORT_KEY, data)
    with pytest.raises(ChecksumMismatch):
        check_stored(store, 5, "0" * 64, lambda: None)
