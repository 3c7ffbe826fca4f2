"""Whatever goes wrong, a job ends. The computing is replaced here; database, folder and rules are real."""

from concurrent.futures import BrokenExecutor
from dataclasses import replace

import pytest

from adaslide.adapters.data_folder import DataFolder
from adaslide.adapters.db.ids import new_id
from adaslide.domain.errors import Conflict, MissingMpp, QualityBelowFloor, StoreUnavailable
from adaslide.domain.job import JobState
from adaslide.ports.queue import Message, Task
from adaslide.ports.work import CANARY
from adaslide_worker.compute import Compute
from unit.worker.bench import TOTALS


def test_a_job_goes_straight_through(bench):
    job = bench.run()
    assert (job.state, job.done, job.total, job.attempts) == (JobState.SUCCEEDED, 60, 60, 1)
    assert bench.compute.ran == ["plan", "shard", "shard", "check_unchanged", "finalize"]
    with bench.database.read() as unit:
        assert unit.packages.get(job.package_id).totals == TOTALS
    assert sorted(bench.left()) == ["0", "1", "zarr.json"]


@pytest.mark.parametrize("step", ["plan", "shard", "finalize", "check_unchanged"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MissingMpp("no mpp"), "missing-mpp"),
        (QualityBelowFloor("below"), "quality-below-floor"),
        (Conflict("changed"), "conflict"),
        (ZeroDivisionError("/slides/Jane Doe.svs"), "internal"),
    ],
)
def test_a_lasting_error_fails_the_job_and_leaves_nothing(bench, step, error, code):
    bench.compute.errors[step].append(error)
    job = bench.run()
    assert (job.state, job.problem["type"]) == (JobState.FAILED, f"/problems/{code}")
    assert "Jane" not in str(job.problem)
    assert bench.left() == []
    with bench.database.read() as unit:
        assert unit.packages.of_slide(job.slide_id) == []


@pytest.mark.parametrize(
    ("error", "traced"), [(MissingMpp("supply mpp"), False), (ZeroDivisionError("/slides/Jane.svs"), True)]
)
def test_only_an_unexpected_error_is_logged_with_its_place(bench, caplog, error, traced):
    bench.compute.errors["plan"].append(error)
    bench.run()
    (record,) = (record for record in caplog.records if record.name == "adaslide_worker.runner")
    assert ("File " in record.getMessage()) is traced
    assert ("missing-mpp" in record.getMessage()) is not traced
    assert "Jane" not in caplog.text


@pytest.mark.parametrize(
    ("step", "delays"), [("plan", [2.0, 4.0]), ("shard", [2.0, 2.0]), ("finalize", [2.0, 4.0])]
)
def test_a_passing_error_is_tried_again_later(bench, step, delays):
    bench.compute.errors[step].extend([StoreUnavailable("busy"), MemoryError()])
    assert bench.run().state is JobState.SUCCEEDED
    # The two shards count their attempts apart.
    assert bench.delays() == delays


@pytest.mark.parametrize("step", ["plan", "shard", "finalize"])
def test_a_passing_error_that_stays_ends_the_job(bench, step):
    bench.compute.errors[step].extend([StoreUnavailable("busy")] * 99)
    job = bench.run()
    assert (job.state, job.problem["code"]) == (JobState.FAILED, "store-unavailable")
    # Three attempts of one shard; the other may have had some in between.
    assert 3 <= bench.compute.ran.count(step) <= (5 if step == "shard" else 3)
    assert bench.left() == []


def test_a_job_that_always_kills_the_service_is_given_up(bench):
    with bench.database.write() as unit:
        for _ in range(3):
            unit.jobs.begin_attempt(bench.id)
    job = bench.run()
    assert (job.state, job.problem["code"]) == (JobState.FAILED, "unavailable")
    assert bench.compute.ran == []


def cancel(bench):
    with bench.database.write() as unit:
        assert unit.jobs.transition(bench.id, JobState.CANCELLING)
        unit.send(Message(Task.SETTLE, (bench.id,)))


@pytest.mark.parametrize("steps", range(4))
def test_a_job_can_be_cancelled_between_any_two_steps(bench, steps):
    for _ in range(steps):
        bench.step()
    cancel(bench)
    assert bench.run().state is JobState.CANCELLED
    assert bench.left() == []


def test_a_shard_under_way_notices_that_its_job_is_cancelled(bench):
    bench.compute.during_shard = lambda: bench.job.state is JobState.RUNNING and cancel(bench)
    assert bench.run().state is JobState.CANCELLED
    assert bench.compute.ran == ["plan", "shard"]
    assert bench.left() == []


def test_an_error_while_cancelling_ends_as_cancelled(bench):
    def fail():
        cancel(bench)
        raise ZeroDivisionError

    bench.compute.during_shard = fail
    assert bench.run().state is JobState.CANCELLED


def test_messages_may_be_lost_or_doubled(bench):
    bench.waiting_messages.clear()
    bench.later()
    bench.waiting_messages.extend(list(bench.waiting_messages) * 2)
    while any(message.task is not Task.SHARD for message in bench.waiting_messages):
        bench.step()
    bench.waiting_messages.clear()
    bench.later()
    bench.waiting_messages.extend(list(bench.waiting_messages) * 2)
    assert bench.run().state is JobState.SUCCEEDED
    assert bench.compute.ran == ["plan", "shard", "shard", "check_unchanged", "finalize"]


def test_a_failed_job_can_be_replayed(bench):
    bench.compute.errors["shard"].append(QualityBelowFloor("below"))
    assert bench.run().state is JobState.FAILED
    with bench.database.write() as unit:
        assert unit.jobs.transition(bench.id, JobState.QUEUED)
        unit.send(Message(Task.PLAN, (bench.id,)))
    assert bench.run().state is JobState.SUCCEEDED


def test_the_same_bytes_are_compressed_once_within_a_tenant(bench):
    first = bench.run()
    with bench.database.read() as unit:
        slide = unit.slides.get(first.slide_id)
    twin = replace(slide, id=new_id(), alias="twin")
    job = replace(first, id=new_id(), package_id=new_id(), slide_id=twin.id, state=JobState.QUEUED)
    job = replace(job, done=0, total=0)
    with bench.database.write() as unit:
        unit.slides.add(twin)
        unit.jobs.add(job)
        unit.send(Message(Task.PLAN, (job.id,)))
    bench.id = job.id
    ended = bench.run()
    assert (ended.state, ended.done, ended.total) == (JobState.SUCCEEDED, 300, 300)
    assert bench.compute.ran.count("shard") == 2
    with bench.database.read() as unit:
        (adopted,), (made,) = (unit.packages.of_slide(s.id) for s in (twin, slide))
    assert (adopted.id, adopted.location, adopted.totals) == (job.package_id, made.location, made.totals)


def test_the_canary_answers(bench):
    bench.reconciler.look()
    assert Task.CANARY in [message.task for message in bench.waiting_messages]
    bench.run()
    with bench.database.read() as unit:
        assert 0 <= unit.work.pulse_age(CANARY) < 60


def test_a_message_for_no_job_does_no_harm(bench):
    for body in (bench.runner.plan, bench.runner.finalize, bench.runner.settle):
        body(new_id())


@pytest.mark.parametrize("step", ["plan", "shard", "finalize"])
def test_a_database_that_goes_away_costs_only_time(bench, monkeypatch, step):
    """It does not answer from the middle of a step on, also not to store the failure."""
    write = bench.database.write
    gone = []

    def sometimes():
        if gone:
            gone.pop()
            raise StoreUnavailable("gone")
        return write()

    monkeypatch.setattr(bench.database, "write", sometimes)
    original = getattr(bench.compute, step)

    def step_that_loses_it(*args, **kwargs):
        setattr(bench.compute, step, original)
        result = original(*args, **kwargs)
        gone.extend([None] * 2)
        return result

    setattr(bench.compute, step, step_that_loses_it)
    assert bench.run().state is JobState.SUCCEEDED
    assert bench.job.problem is None


def test_a_lost_process_is_a_passing_error(monkeypatch):
    compute = Compute(1)
    with pytest.raises(Exception, match="lost") as lost, compute._pool():
        raise BrokenExecutor
    assert lost.value.retryable
    compute.close()


def test_a_data_folder_has_one_owner(tmp_path):
    with DataFolder(tmp_path).owned(), pytest.raises(Conflict), DataFolder(tmp_path).owned():
        pass
    with DataFolder(tmp_path).owned():
        pass
