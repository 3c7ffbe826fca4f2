"""A runner without its computing: database, folder and rules are real, messages run when told to."""

from collections import deque
from datetime import UTC, datetime

import numpy as np

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.migrate import upgrade
from adaslide.adapters.db.session import SqlDatabase, create_engine
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.slide_files.folder import FolderSlideFiles
from adaslide.adapters.slide_files.growing import GrowingFiles
from adaslide.adapters.workspace import Workspace
from adaslide.domain.geometry import Size
from adaslide.domain.job import JobState
from adaslide.domain.profile import PROFILES
from adaslide.domain.slide import MppOrigin, SlideFacts, SourceLevel
from adaslide.observability.metrics import Metrics
from adaslide.package.layout import shard_key
from adaslide.pipeline.compress_shard import sidecar_key
from adaslide.pipeline.plan import CompressionPlan
from adaslide.ports.jobs import CompressRequest, JobRecord, SlideRecord
from adaslide.ports.queue import Message, Task
from adaslide.settings import Compression
from adaslide_worker.reconciler import Reconciler
from adaslide_worker.runner import JobRunner

SIZE = Size(512 * 20, 512 * 3)  # 60 patches in two shards

TOTALS = {
    "patches": {"total": 300, "not_restored": {"protected": 0}},
    "source_bytes": 9,
    "package_bytes": 2,
    "demoted": 0,
    "promoted": 0,
    "violations": 0,
}
REQUEST = CompressRequest("archive")


def plan_of_two_shards():
    facts = SlideFacts(SIZE, (SourceLevel(SIZE, 1.0),), "test", 0.5, 20.0, None, None, 1000, "0" * 64)
    tissue = np.zeros((3, 20), np.float32)
    barred, glass = np.zeros((3, 20), np.uint8), (243, 243, 243)
    return CompressionPlan(facts, PROFILES["archive"], 0.5, MppOrigin.PROPERTIES, 512, tissue, glass, barred)


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

    def finalize(self, work, package, scratch, *, seconds):
        self._step("finalize")
        assert [scratch(s).get(sidecar_key(s)) for s in work.grid.shards()] == [b"sidecar", b"sidecar"]
        package.put("zarr.json", b"{}")
        return TOTALS


class Bench:
    """A runner whose messages run when told to; the clocks of leases and retries are turned by `run`."""

    def __init__(self, root, beat_s=0.01, *, compute=None, request=REQUEST, slide=b"read in place"):
        self.waiting_messages = deque()
        self.root = root
        self.compute = compute or ScriptedCompute()
        (root / "uploads").mkdir(exist_ok=True)
        self.workspace = Workspace(FilesystemStore(root), FolderSlideFiles(root), GrowingFiles(root))
        engine = create_engine(f"sqlite:///{root / 'state.sqlite'}")
        upgrade(engine)
        self.database = SqlDatabase(engine, self)
        rules = Compression(attempts=3, beat_s=beat_s, reconcile_s=0.01, lease_s=5)
        self.runner = JobRunner(self.database, self.workspace, self.compute, rules, Metrics(), "bench")
        self.reconciler = Reconciler(self.database, self, self.workspace, rules, "bench")
        self.bodies = {
            Task.PLAN: self.runner.plan,
            Task.SHARD: self.runner.shard,
            Task.FINALIZE: self.runner.finalize,
            Task.SETTLE: self.runner.settle,
            Task.CANARY: self.runner.canary,
        }
        source = root / "a.svs"
        source.write_bytes(slide)
        slide = SlideRecord(new_id(), None, str(source), False, {}, "0" * 64, datetime.now(UTC))
        now = datetime.now(UTC)
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
        self.bodies[message.task](*message.args)

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
