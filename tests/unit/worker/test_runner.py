"""Whatever goes wrong, a job ends. The computing is replaced here; database, folder and rules are real."""

from collections import deque
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from adaslide.adapters.data_folder import DataFolder
from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.workspace import Workspace
from adaslide.domain.errors import Conflict, MissingMpp, QualityBelowFloor, StoreUnavailable
from adaslide.domain.geometry import ShardIndex, Size
from adaslide.domain.job import JobState
from adaslide.domain.profile import PROFILES
from adaslide.domain.slide import MppOrigin, SlideFacts, SourceLevel
from adaslide.package.layout import shard_key
from adaslide.pipeline.compress_shard import sidecar_key
from adaslide.pipeline.plan import CompressionPlan
from adaslide.ports.jobs import CompressRequest, JobRecord, SlideRecord
from adaslide.ports.queue import Message, Task
from adaslide.settings import Compression
from adaslide_worker.compute import Compute
from adaslide_worker.reconciler import Reconciler
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

    def shard(self, slide, work, shard, staged, *, progress, cancelled):
        staged.put(shard_key(0, shard), b"shard")
        staged.put(sidecar_key(shard), b"sidecar")
        self._step("shard")
        self.during_shard()
        progress(5)
        return not cancelled()

    def check_unchanged(self, slide, work):
        self._step("check_unchanged")

    def finalize(self, work, package, sidecar, *, seconds):
        self._step("finalize")
        assert [sidecar(shard) for shard in work.grid.shards()] == [b"sidecar", b"sidecar"]
        package.put("zarr.json", b"{}")
        return {"package_bytes": 2}


class Bench:
    """A runner whose messages run when told to; the clocks of leases and retries are turned by `run`."""

    def __init__(self, root, beat_s=0.01):
        self.waiting_messages = deque()
        self.root = root
        self.compute = ScriptedCompute()
        (root / "uploads").mkdir(exist_ok=True)
        self.workspace = Workspace(FilesystemStore(root), FolderSlideFiles(root))
        engine = create_engine(f"sqlite:///{root / 'state.sqlite'}")
        upgrade(engine)
        self.database = SqlDatabase(engine, self)
        rules = Compression(attempts=3, beat_s=beat_s, reconcile_s=0.01, lease_s=5)
        self.runner = JobRunner(self.database, self.workspace, self.compute, rules, "bench")
        self.reconciler = Reconciler(self.database, self, self.workspace, rules, "bench")
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
        self.waiting_messages.append(message)

    def waiting(self):
        return len(self.waiting_messages)

    def step(self):
        message = self.waiting_messages.popleft()
        bodies = {
            Task.PLAN: self.runner.plan,
            Task.SHARD: self.runner.shard,
            Task.FINALIZE: self.runner.finalize,
            Task.SETTLE: self.runner.settle,
            Task.CANARY: self.runner.canary,
        }
        bodies[message.task](*message.args)

    def later(self):
        """Time passes: what waited for its time, or for a dead worker's lease to run out, is due."""
        with self.database.write() as unit:
            unit.work.forget_leases()
        self.reconciler.look()

    def run(self):
        """The job when it has ended, or when nothing happens to it any more."""
        for _ in range(100):
            while self.waiting_messages:
                self.step()
            if self.job.state.terminal or self.runner.stopping.is_set():
                return self.job
            self.later()
        raise AssertionError("a job without end")

    def delays(self):
        with self.database.read() as unit:
            return [event.data["delay"] for event in unit.jobs.events(self.id) if event.kind == "retry"]

    @property
    def job(self):
        with self.database.read() as unit:
            return unit.jobs.get(self.id)

    def kinds(self):
        with self.database.read() as unit:
            return [event.kind for event in unit.jobs.events(self.id)]

    def left(self):
        """Files below the packages and the scratch."""
        folders = (self.root / "packages", self.root / "scratch")
        return [path.name for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.database.close()


@pytest.fixture
def sleepy(tmp_path):
    """A bench whose worker never renews a lease: to the others it seems dead."""
    bench = Bench(tmp_path, beat_s=3600)
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


def test_a_stopping_service_gives_the_shard_back(bench):
    bench.compute.during_shard = bench.runner.stopping.set
    assert bench.run().state is JobState.RUNNING
    bench.compute.during_shard = lambda: None
    bench.runner.stopping.clear()
    with bench.database.read() as unit:
        assert unit.work.waiting().shards == 2
    done = bench.run()
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 1)
    assert bench.compute.ran.count("plan") == 1


def test_what_a_dead_worker_held_passes_on_with_its_lease(bench):
    bench.step()
    with bench.database.write() as unit:
        dead = unit.work.claim_shard("dead", 60)
    while bench.waiting_messages:
        bench.step()
    assert bench.compute.ran.count("shard") == 1
    done = bench.run()
    assert (done.state, done.attempts) == (JobState.SUCCEEDED, 2)
    with bench.database.write() as unit:  # it was only asleep
        assert not unit.work.beat_shard(dead.lease, 9, 60)
        assert unit.work.finish_shard(dead.lease, 1.0, 1) is None
        assert unit.jobs.get(bench.id).done == 60


def test_a_worker_that_lost_its_lease_changes_nothing(sleepy):
    """It sleeps through its lease in mid-shard; another one does the shard; then it wakes up."""

    def sleep_through():
        sleepy.compute.during_shard = lambda: None
        sleepy.later()
        while sleepy.waiting_messages:
            sleepy.step()

    sleepy.step()
    sleepy.compute.during_shard = sleep_through
    done = sleepy.run()
    assert (done.state, done.done, done.total) == (JobState.SUCCEEDED, 60, 60)
    assert sleepy.compute.ran.count("finalize") == 1


def test_two_finalizers_publish_once(sleepy):
    """The first one sleeps through its lease: the second one's package is the one that is seen."""
    original = sleepy.compute.finalize

    def sleep_through(*args, **kwargs):
        sleepy.compute.finalize = original
        sleepy.later()
        while sleepy.waiting_messages:
            sleepy.step()
        assert sleepy.job.state is JobState.SUCCEEDED
        return original(*args, **kwargs)

    sleepy.compute.finalize = sleep_through
    job = sleepy.run()
    with sleepy.database.read() as unit:
        (package,) = unit.packages.of_slide(job.slide_id)
    assert package.location == f"{job.package_id}-2.zarr"
    with sleepy.database.write() as unit:
        unit.work.forget_leases()
    sleepy.workspace.sweep(job, package.location)
    assert [path.name for path in (sleepy.root / "packages").iterdir()] == [package.location]


def test_what_is_left_behind_is_swept_and_nothing_else(bench):
    root = bench.root
    for left in ("scratch/s", "packages/unknown.zarr", "slides/unknown"):
        (root / left).mkdir(parents=True)
        (root / left / "file").write_bytes(b"x")
    bench.compute.errors["shard"].append(QualityBelowFloor("below"))
    job = bench.run()
    bench.workspace.staged(job.id, ShardIndex(0, 0), 1).put("x", b"of a worker that did not know yet")
    bench.workspace.package(f"{job.package_id}-1.zarr").put("0/c/0/0/0", b"of a worker that died")
    with bench.database.write() as unit:
        assert [j.id for j in unit.jobs.unswept(0)] == [job.id]
    bench.workspace.sweep(job, None)
    # Another database may speak for these.
    assert bench.left() == ["file", "file"]
    assert (root / "slides/unknown/file").exists()


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
    with bench.database.write() as unit:
        unit.slides.add(twin)
        unit.jobs.add(job)
        unit.send(Message(Task.PLAN, (job.id,)))
    bench.id = job.id
    assert bench.run().state is JobState.SUCCEEDED
    assert bench.compute.ran.count("shard") == 2
    with bench.database.read() as unit:
        (adopted,), (made,) = (unit.packages.of_slide(s.id) for s in (twin, slide))
    assert (adopted.id, adopted.location, adopted.totals) == (job.package_id, made.location, made.totals)


def test_the_canary_answers(bench):
    bench.reconciler.look()
    assert Task.CANARY in [message.task for message in bench.waiting_messages]
    bench.run()
    with bench.database.read() as unit:
        assert 0 <= unit.work.pulse_age(Task.CANARY) < 60


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
