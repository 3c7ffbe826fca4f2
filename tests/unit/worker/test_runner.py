"""Whatever goes wrong, a job ends. The computing is replaced here; database, folder and rules are real."""

from collections import deque
from concurrent.futures import BrokenExecutor
from datetime import UTC, datetime

import numpy as np
import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.workspace import Workspace
from adaslide.domain.errors import Conflict, MissingMpp, QualityBelowFloor, StoreUnavailable
from adaslide.domain.geometry import Size
from adaslide.domain.job import JobState
from adaslide.domain.profile import PROFILES
from adaslide.domain.slide import MppOrigin, SlideFacts, SourceLevel
from adaslide.pipeline.plan import CompressionPlan
from adaslide.ports.jobs import CompressRequest, JobRecord, SlideRecord
from adaslide.ports.queue import Message, Task
from adaslide_worker.compute import Compute
from adaslide_worker.runner import JobRunner

SIZE = Size(512 * 20, 512 * 3)  # 60 patches in two shards


def plan_of_two_shards():
    facts = SlideFacts(SIZE, (SourceLevel(SIZE, 1.0),), "test", 0.5, 20.0, None, None, 1000, "0" * 64)
    tissue = np.zeros((3, 20), np.float32)
    glass = (243, 243, 243)
    return CompressionPlan(facts, PROFILES["archive"], 0.5, MppOrigin.PROPERTIES, 512, tissue, glass)


class ScriptedCompute:
    """Does no work, but raises what ``errors`` says, in order, when the step of that name runs."""

    def __init__(self):
        self.errors = {"plan": deque(), "shard": deque(), "finalize": deque(), "check_unchanged": deque()}
        self.ran = []
        self.during_shard = lambda: None

    def _step(self, name):
        self.ran.append(name)
        if self.errors[name] and (error := self.errors[name].popleft()):
            raise error

    def plan(self, slide, request):
        self._step("plan")
        return plan_of_two_shards()

    def shard(self, slide, work, shard, package, scratch, *, progress, cancelled):
        package.put(f"0/c/0/{shard.row}/{shard.col}", b"shard")
        self._step("shard")
        self.during_shard()
        progress(5)
        return not cancelled()

    def check_unchanged(self, slide, work):
        self._step("check_unchanged")

    def finalize(self, work, package, scratch, *, seconds):
        self._step("finalize")
        package.put("zarr.json", b"{}")
        return {"package_bytes": 2}


class Bench:
    """A runner whose messages run when told to; ``delays`` are those asked for."""

    def __init__(self, root):
        self.waiting, self.delays = deque(), []
        self.compute = ScriptedCompute()
        self.workspace = Workspace(root)
        engine = create_engine(f"sqlite:///{root / 'state.sqlite'}")
        upgrade(engine)
        self.database = SqlDatabase(engine, self)
        self.runner = JobRunner(self.database, self, self.workspace, self.compute, attempts=3)
        slide = SlideRecord(new_id(), None, "/slides/a.svs", False, {}, "0" * 64, datetime.now(UTC))
        now = datetime.now(UTC)
        request = CompressRequest("archive")
        self.id = new_id()
        job = JobRecord(
            self.id, slide.id, new_id(), request, JobState.QUEUED, 0, 0, 0, None, 0, 0, now, None, None
        )
        with self.database.write() as unit:
            unit.slides.add(slide)
            unit.jobs.add(job)
            unit.send(Message(Task.PLAN, (job.id,)))

    def send(self, message):
        self.waiting.append(message)
        self.delays.append(message.delay)

    def step(self):
        message = self.waiting.popleft()
        bodies = {
            Task.PLAN: self.runner.plan,
            Task.SHARD: self.runner.shard,
            Task.FINALIZE: self.runner.finalize,
            Task.SETTLE: self.runner.settle,
        }
        bodies[message.task](*message.args)

    def run(self):
        """The job when no message is left."""
        for _ in range(100):
            if not self.waiting:
                return self.job
            self.step()
        raise AssertionError("messages without end")

    @property
    def job(self):
        with self.database.read() as unit:
            return unit.jobs.get(self.id)

    def kinds(self):
        with self.database.read() as unit:
            return [event.kind for event in unit.jobs.events(self.id)]

    def left(self):
        """Files below the packages and the scratch."""
        folders = (self.workspace.root / "packages", self.workspace.root / "scratch")
        return [path.name for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


def test_a_job_goes_straight_through(bench):
    job = bench.run()
    assert (job.state, job.done, job.total, job.attempts) == (JobState.SUCCEEDED, 60, 60, 1)
    assert bench.compute.ran == ["plan", "shard", "shard", "check_unchanged", "finalize"]
    with bench.database.read() as unit:
        assert unit.packages.get(job.package_id).totals == {"package_bytes": 2}
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
    assert bench.kinds().count("retry") == 2
    # The two shards count their attempts apart.
    assert [delay for delay in bench.delays if delay] == delays


@pytest.mark.parametrize("step", ["plan", "shard", "finalize"])
def test_a_passing_error_that_stays_ends_the_job(bench, step):
    bench.compute.errors[step].extend([StoreUnavailable("busy")] * 99)
    job = bench.run()
    assert (job.state, job.problem["code"]) == (JobState.FAILED, "store-unavailable")
    # Three attempts of one shard, two of the other, which then finds its job ended.
    assert bench.compute.ran.count(step) == (5 if step == "shard" else 3)
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


def test_a_stopping_service_leaves_the_job_to_the_next_one(bench):
    bench.compute.during_shard = bench.runner.stopping.set
    assert bench.run().state is JobState.RUNNING
    bench.compute.during_shard = lambda: None
    bench.runner.stopping.clear()
    assert bench.runner.recover() == 1
    assert bench.run().state is JobState.SUCCEEDED
    assert bench.compute.ran.count("plan") == 1


def test_a_start_removes_what_a_dead_one_left_and_nothing_else(bench):
    root = bench.workspace.root
    for _ in range(2):
        bench.step()
    (root / "scratch" / bench.id / ".tmp-1").write_bytes(b"half")
    for left in ("uploads/u", "scratch/s", "packages/unknown.zarr", "slides/unknown"):
        (root / left).mkdir()
        (root / left / "file").write_bytes(b"x")
    bench.runner.recover()
    assert not list((root / "uploads").iterdir())
    assert [path.name for path in (root / "scratch").iterdir()] == [bench.id]
    assert not list(root.rglob(".tmp-*"))
    # Another database may speak for these.
    assert (root / "packages/unknown.zarr/file").exists()
    assert (root / "slides/unknown/file").exists()
    bench.compute.errors["shard"].append(QualityBelowFloor("below"))
    job = bench.run()
    bench.workspace.package(job.package_id).put("0/c/0/0/0", b"left by a process that died while removing")
    bench.runner.recover()
    assert not bench.workspace.package_path(job.package_id).exists()


def test_messages_may_be_lost_or_doubled(bench):
    bench.step()
    bench.waiting.clear()
    bench.runner.recover()
    bench.step()
    bench.waiting.extend(list(bench.waiting) * 2)
    assert bench.run().state is JobState.SUCCEEDED
    assert bench.compute.ran.count("shard") == 2
    assert bench.compute.ran.count("finalize") == 1


def test_a_message_for_no_job_does_no_harm(bench):
    bench.runner.plan(new_id())
    bench.runner.shard(new_id(), 0, 0)


def test_a_database_that_does_not_answer_is_asked_again(bench, monkeypatch):
    answers = iter([StoreUnavailable("locked")] * 2)
    write = bench.database.write

    def sometimes():
        if error := next(answers, None):
            raise error
        return write()

    monkeypatch.setattr(bench.database, "write", sometimes)
    assert bench.run().state is JobState.SUCCEEDED
    assert 15.0 in bench.delays


def test_a_lost_process_is_a_passing_error(monkeypatch):
    compute = Compute(1)
    with pytest.raises(Exception, match="lost") as lost, compute._pool():
        raise BrokenExecutor
    assert lost.value.retryable
    compute.close()


def test_a_data_folder_has_one_owner(tmp_path):
    with Workspace(tmp_path).owned(), pytest.raises(Conflict), Workspace(tmp_path).owned():
        pass
    with Workspace(tmp_path).owned():
        pass
