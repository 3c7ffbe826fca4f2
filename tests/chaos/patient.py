"""The cluster under test, as those see it who hurt it and those who examine it afterwards."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import uuid4

import sqlalchemy as sa

from adaslide.adapters.objects.prefixed import PrefixedStore
from adaslide.package.reader import PackageReader
from adaslide.pipeline.verify import verify
from adaslide.wiring import package_checker

STAGES = ("queued", "planning", "compressing", "staged", "verifying", "publishing")
STAGE_S, JOB_S, TIDY_S = 90, 180, 60
LEASE_S = 2.0
TERMINAL = ("succeeded", "failed", "cancelled")


class Patient:
    """A cluster of one API and two workers behind an S3 proxy that can fail."""

    def __init__(self, cluster, postgres, valkey, s3, proxy, slide):
        self.cluster, self.postgres, self.valkey, self.s3, self.proxy = cluster, postgres, valkey, s3, proxy
        self.examined = []
        """Jobs that ended as they should."""
        self._engine = sa.create_engine(cluster.database_url, poolclass=sa.NullPool)
        self.slide_id = self.upload(slide.read_bytes())

    def upload(self, data):
        """A slide of its own: bytes after the end change nothing but its digest."""
        files = {"file": ("wide.tif", data)}
        answer = self.cluster.client.post("/slides", files=files)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def submit(self, random, slide_id=None):
        """A job that no other did; most are quick."""
        profile = random.choice(("exact", "exact", "exact", "archive@1"))
        floor = 0.2 + random.random() / 10
        body = {"profile": profile, "mpp": 0.5, "dice_floor": floor}
        answer = self.cluster.client.post(f"/slides/{slide_id or self.slide_id}/compress", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def ask(self, question, **values):
        """The rows that the database answers; none while it is away."""
        with suppress(sa.exc.OperationalError), self._engine.connect() as connection:
            return connection.execute(sa.text(question), values).all()
        return []

    def state(self, job_id):
        rows = self.ask("SELECT state FROM jobs WHERE id = :job", job=job_id)
        return rows[0].state if rows else None

    def holders(self, job_id):
        """Numbers of the processes that hold any of the job's work."""
        names = self.ask(
            "SELECT holder FROM shards WHERE job_id = :job AND holder IS NOT NULL AND NOT finished "
            "UNION SELECT holder FROM leases WHERE name IN (:plan, :finalize) "
            "AND until > extract(epoch from clock_timestamp())",
            job=job_id,
            plan=f"plan/{job_id}",
            finalize=f"finalize/{job_id}",
        )
        return [int(row.holder.split(":")[1]) for row in names]

    def reached(self, job_id, stage):
        """Whether the job has come as far as ``stage``; also when it is over."""
        state = self.state(job_id)
        if state in TERMINAL:
            return True
        if stage == "queued":
            return state is not None
        if stage == "planning":
            return state != "queued"
        if stage == "compressing":
            return bool(self.ask("SELECT 1 FROM shards WHERE job_id = :job AND token > 0", job=job_id))
        if stage == "staged":
            return any(True for _ in self.cluster.store.list(f"scratch/{job_id}/0_"))
        if stage == "verifying":
            return state == "verifying"
        return any(True for _ in self.cluster.store.list(f"packages/{self.package_id(job_id)}"))

    def package_id(self, job_id):
        rows = self.ask("SELECT package_id FROM jobs WHERE id = :job", job=job_id)
        return rows[0].package_id if rows else "none"

    def wait_for(self, job_id, stage):
        end = time.monotonic() + STAGE_S
        while not self.reached(job_id, stage):
            assert time.monotonic() < end, self._story(job_id, f"did not come to {stage}")
            time.sleep(0.005)

    def _story(self, job_id, what):
        events = [(row.kind, row.data) for row in self._events(job_id)]
        return f"the job {what}\n{events}\n{self.cluster.log_text()[-6000:]}"

    def _events(self, job_id):
        return self.ask("SELECT kind, data FROM job_events WHERE job_id = :job ORDER BY id", job=job_id)

    def worker_processes(self):
        return [worker.process.pid for worker in self.cluster.workers if worker.running]

    def heal(self, skew_s=0):
        """Starts what has died, as a supervisor would, and waits until it works; clocks ``skew_s`` wrong."""
        gone = [worker for worker in self.cluster.workers if not worker.running]
        for worker in gone:
            worker.start(skew_s)
        for worker in gone:
            assert worker.first_line() == "AdaSlide works"

    def ended(self, job_id):
        """The job's last state."""
        end = time.monotonic() + JOB_S
        while (state := self.state(job_id)) not in TERMINAL:
            assert time.monotonic() < end, self._story(job_id, f"hangs in {state}")
            self.heal()
            time.sleep(0.05)
        return state

    def examine(self, job_id, expected):
        """The right end, seen once and whole. What it left is looked at by `tidy`, when all is over."""
        state = self.ended(job_id)
        assert state in expected, self.ask("SELECT problem FROM jobs WHERE id = :job", job=job_id)
        packages = self._packages(job_id)
        assert len(packages) == (state == "succeeded")
        states = [row.data["state"] for row in self._events(job_id) if row.kind == "state"]
        assert states.count(state) == 1
        if state == "succeeded":
            (job,) = self.ask("SELECT done, total, open FROM jobs WHERE id = :job", job=job_id)
            assert (job.done, job.total, job.open) == (34, 34, 0)
            self._verify(packages[0].location)
        self.examined.append(job_id)

    def _packages(self, job_id):
        return self.ask("SELECT id, location FROM packages WHERE job_id = :job", job=job_id)

    def _verify(self, location):
        store = PrefixedStore(self.cluster.store, f"packages/{location}")
        package = PackageReader(store)
        with ThreadPoolExecutor(2) as executor:
            report = verify(store, package, package_checker(package), executor)
        assert report.ok, report

    def tidy(self, job_id):
        """Nothing of the job is left but its package, as soon as no worker can be at it any more."""
        package_id = self.package_id(job_id)
        locations = {package.location for package in self._packages(job_id)}

        def left():
            keys = [key for key, _ in self.cluster.store.list(f"scratch/{job_id}/")]
            found = [key for key, _ in self.cluster.store.list(f"packages/{package_id}")]
            return keys + [key for key in found if key.split("/")[1] not in locations]

        end = time.monotonic() + TIDY_S
        while rest := left():
            assert time.monotonic() < end, self._story(job_id, f"left {rest}")
            time.sleep(0.1)


def unlike(data):
    """The same picture, other bytes."""
    return data + uuid4().bytes
