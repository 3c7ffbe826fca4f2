"""What every database promises of work: nothing is given out twice, nothing is lost, nobody is starved."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import pytest
import sqlalchemy as sa

from adaslide.adapters.db.ids import new_id
from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import JobState, Urgency
from adaslide.ports.gauges import ShardState, WorkGauges
from adaslide.ports.jobs import CompressRequest, RestoreRequest
from adaslide.ports.queue import Message, Task
from adaslide.ports.work import CANARY
from contract.records import job_record, opened, slide_record

LEASE_S = 60.0
WAYS = ([], [JobState.RUNNING], [JobState.RUNNING, JobState.VERIFYING], [JobState.CANCELLING])


class Silent:
    """A queue that takes everything."""

    def send(self, message):
        pass


class WorkContract:
    """The promises."""

    @pytest.fixture
    def slide(self, database):
        slide = slide_record()
        with database.write() as unit:
            unit.slides.add(slide)
        return slide

    @pytest.fixture
    def running(self, database):
        """Makes a running job with so many shards of ten patches."""

        def make(shards, **other):
            slide = slide_record(tenant=other.get("tenant", "default"))
            job = job_record(slide, **other)
            with database.write() as unit:
                unit.slides.add(slide)
                unit.jobs.add(job)
                unit.jobs.transition(job.id, JobState.RUNNING)
                unit.work.add_shards(job.id, {ShardIndex(0, col): 10 for col in range(shards)})
            return job

        return make

    def claim(self, database, holder="me", lease_s=LEASE_S):
        with database.write() as unit:
            claimed = unit.work.claim_shard(holder, lease_s)
        return claimed and claimed.lease

    def expire(self, database):
        with database.write() as unit:
            unit.work.forget_leases()

    def test_a_shard_is_claimed_with_all_its_worker_must_know(self, database, running):
        job = running(1)
        with database.write() as unit:
            claimed = unit.work.claim_shard("me", LEASE_S)
            assert claimed.lease == replace(
                claimed.lease, job_id=job.id, shard=ShardIndex(0, 0), token=1, attempt=1
            )
            assert claimed.job.id == job.id
            assert claimed.slide == unit.slides.get(job.slide_id)
            assert unit.work.claim_shard("other", LEASE_S) is None

    def test_shards_are_counted_into_the_job(self, database, running):
        job = running(2)
        first, second = self.claim(database), self.claim(database)
        with database.write() as unit:
            assert unit.work.beat_shard(first, 6, LEASE_S)
            assert (unit.jobs.get(job.id).done, unit.jobs.get(job.id).total) == (6, 20)
            assert unit.work.finish_shard(first, 1.5, 100) == 1
            assert unit.work.finish_shard(second, 1.0, 50) == 0
            found = unit.jobs.get(job.id)
            assert (found.done, found.seconds, found.peak_rss_bytes) == (20, 2.5, 100)
            assert unit.work.winners(job.id) == {ShardIndex(0, 0): 1, ShardIndex(0, 1): 1}
            assert [e.data for e in unit.jobs.events(job.id) if e.kind == "progress"][-1] == {
                "done": 20,
                "total": 20,
            }
            assert unit.work.finish_shard(second, 1.0, 50) is None
            assert unit.jobs.get(job.id).done == 20

    def test_a_lease_that_ran_out_is_lost_to_the_next(self, database, running):
        running(1)
        first = self.claim(database, lease_s=0.0)
        second = self.claim(database, "other")
        assert (second.token, second.attempt) == (2, 2)
        with database.write() as unit:
            assert not unit.work.beat_shard(first, 3, LEASE_S)
            assert not unit.work.release_shard(first)
            assert unit.work.finish_shard(first, 1.0, 1) is None
            assert unit.work.beat_shard(second, 1, LEASE_S)
            assert unit.work.finish_shard(second, 1.0, 1) == 0

    def test_a_lease_that_ran_out_but_was_not_taken_can_be_renewed(self, database, running):
        running(1)
        lease = self.claim(database, lease_s=0.0)
        with database.write() as unit:
            assert unit.work.beat_shard(lease, 3, LEASE_S)
        assert self.claim(database) is None

    def test_a_shard_given_back_waits_as_long_as_was_said(self, database, running):
        running(1)
        lease = self.claim(database)
        with database.write() as unit:
            assert unit.work.release_shard(lease, delay=60)
            assert unit.work.waiting() == 0
        assert self.claim(database) is None
        self.expire(database)
        with database.write() as unit:
            assert unit.work.waiting() == 1
        again = self.claim(database)
        assert again.attempt == 2
        with database.write() as unit:
            unit.work.release_shard(again, blameless=True)
        assert self.claim(database).attempt == 2

    @pytest.mark.parametrize("target", [JobState.CANCELLING, JobState.FAILED])
    def test_a_job_that_does_not_go_on_gives_out_nothing(self, database, running, target):
        job = running(2)
        lease = self.claim(database)
        with database.write() as unit:
            unit.jobs.transition(job.id, target)
        assert self.claim(database) is None
        with database.write() as unit:
            assert not unit.work.beat_shard(lease, 3, LEASE_S)
            assert unit.work.finish_shard(lease, 1.0, 1) is None
            assert unit.work.waiting() == 0

    def test_the_most_urgent_goes_first(self, database, running):
        bulk, stat = running(2, urgency=Urgency.BULK), running(1, urgency=Urgency.STAT)
        routine = running(1)
        order = [self.claim(database).job_id for _ in range(4)]
        assert order == [stat.id, routine.id, bulk.id, bulk.id]

    def test_tenants_take_turns(self, database, running):
        for _ in range(3):
            running(4, tenant="many")
        few = running(2, tenant="few")
        served = [self.claim(database).job_id == few.id for _ in range(6)]
        assert served.count(True) == 2
        assert served[:4].count(True) == 2  # not behind the twelve that were there before

    def test_no_two_workers_get_the_same_shard(self, database, running):
        running(24)
        start = Barrier(6)

        def take(worker):
            start.wait()
            taken = []
            while (lease := self.claim(database, f"w{worker}")) is not None:
                taken.append(lease.shard)
            return taken

        with ThreadPoolExecutor(6) as executor:
            taken = Counter(shard for shards in executor.map(take, range(6)) for shard in shards)
        assert len(taken) == 24
        assert set(taken.values()) == {1}

    def test_exactly_one_worker_finds_its_shard_the_last(self, database, running):
        for _ in range(3):
            running(6)
            leases = [self.claim(database) for _ in range(6)]
            start = Barrier(6)

            def finish(lease, start=start):
                start.wait()
                with database.write() as unit:
                    return unit.work.finish_shard(lease, 0.1, 1)

            with ThreadPoolExecutor(6) as executor:
                assert sorted(executor.map(finish, leases)) == list(range(6))

    def test_a_named_lease_has_one_holder(self, database):
        with database.write() as unit:
            assert unit.work.claim("plan/x", "me", LEASE_S) == 1
        with database.write() as unit:
            assert unit.work.claim("plan/x", "other", LEASE_S) is None
            assert unit.work.beat("plan/x", 1, LEASE_S)
            unit.work.release("plan/x", 1)
        with database.write() as unit:
            assert unit.work.claim("plan/x", "other", LEASE_S) == 2
            assert not unit.work.beat("plan/x", 1, LEASE_S)
            unit.work.release("plan/x", 1)  # too late, and no error
            assert unit.work.beat("plan/x", 2, LEASE_S)

    def test_of_many_that_claim_at_once_one_wins(self, database):
        start = Barrier(6)

        def claim(worker):
            start.wait()
            with database.write() as unit:
                return unit.work.claim("finalize/x", f"w{worker}", LEASE_S)

        with ThreadPoolExecutor(6) as executor:
            tokens = list(executor.map(claim, range(6)))
        assert sorted(token is not None for token in tokens) == [False] * 5 + [True]

    def test_jobs_that_nobody_works_on_are_woken(self, database, slide):
        jobs = [job_record(slide, package_id=new_id(), request=r) for r in _requests(4)]
        with database.write() as unit:
            for job in jobs:
                unit.jobs.add(job)
            unit.jobs.transition(jobs[1].id, JobState.RUNNING)
            unit.jobs.transition(jobs[1].id, JobState.VERIFYING)
            unit.jobs.transition(jobs[2].id, JobState.CANCELLING)
            unit.jobs.transition(jobs[3].id, JobState.FAILED)
        with database.write() as unit:
            assert set(unit.work.wake(5)) == {
                Message(Task.PLAN, (jobs[0].id,)),
                Message(Task.FINALIZE, (jobs[1].id,)),
                Message(Task.SETTLE, (jobs[2].id,)),
            }
        with database.write() as unit:
            assert unit.work.wake(5) == []  # a moment ago
            unit.work.claim(f"finalize/{jobs[1].id}", "me", LEASE_S)
            unit.work.claim(f"plan/{jobs[0].id}", "me", LEASE_S)
            assert unit.work.wake(0) == [Message(Task.SETTLE, (jobs[2].id,))]

    def test_jobs_that_restore_are_woken_to_it_and_compressed_by_nobody(self, database, slide):
        requests = [RestoreRequest(new_id(), "tiff", level) for level in range(4)]
        jobs = [job_record(slide, request) for request in requests]
        with database.write() as unit:
            for job in jobs:
                unit.jobs.add(job)
                assert unit.jobs.get(job.id) == job
            for job, states in zip(jobs, WAYS, strict=True):
                assert all(unit.jobs.transition(job.id, state) for state in states)
        with database.write() as unit:
            expected = [Task.EXPORT, Task.EXPORT, Task.EXPORT, Task.SETTLE]
            assert set(unit.work.wake(5)) == {
                Message(task, (job.id,)) for task, job in zip(expected, jobs, strict=True)
            }
            assert unit.work.claim_shard("me", LEASE_S) is None
            assert unit.work.waiting() == 0
            for job in jobs[:3]:
                unit.work.claim(f"export/{job.id}", "me", LEASE_S)
        with database.write() as unit:
            assert unit.work.wake(0) == [Message(Task.SETTLE, (jobs[3].id,))]

    def test_callers_are_woken_for_until_they_were_told(self, database, slide):
        job = job_record(slide, callback_url="https://hooks.example/")
        with database.write() as unit:
            unit.jobs.add(job)
            unit.jobs.transition(job.id, JobState.FAILED)
            assert not unit.jobs.get(job.id).told
        with database.write() as unit:
            assert unit.work.wake(5) == []  # it was sent with the failure
            unit.work.forget_leases()
            assert unit.work.wake(5) == [Message(Task.NOTIFY, (job.id,))]
            unit.jobs.mark_told(job.id)
            unit.work.forget_leases()
            assert unit.work.wake(5) == []

    def test_a_planned_job_is_not_planned_again(self, database, running):
        job = running(1)
        with database.write() as unit:
            assert unit.work.planned(job.id)
            assert unit.work.wake(0) == []

    def test_signs_of_life_have_an_age(self, database):
        with database.write() as unit:
            assert unit.work.pulse_age("canary") is None
            for _ in range(2):
                unit.work.pulse("canary")
        with database.read() as unit:
            assert 0 <= unit.work.pulse_age("canary") < 30

    def test_gauges_tell_what_waits_and_what_is_under_way(self, database, running):
        with database.read() as unit:
            assert unit.work.gauges() == WorkGauges()
        running(4)
        lease = self.claim(database)
        self.claim(database)
        with database.write() as unit:
            unit.work.release_shard(lease, delay=60)
            unit.work.pulse(CANARY)
            gauges = unit.work.gauges()
        assert gauges.shards == {ShardState.CLAIMABLE: 2, ShardState.DELAYED: 1, ShardState.LEASED: 1}
        assert gauges.jobs == {JobState.RUNNING: 1}
        assert 0 <= gauges.oldest_claimable_s < 60
        assert 0 <= gauges.canary_age_s < 60

    def test_whose_lease_ran_out_is_told(self, database, running):
        running(1)
        with database.write() as unit:
            assert not unit.work.claim_shard("me", 0.0).taken_over
        with database.write() as unit:
            second = unit.work.claim_shard("other", LEASE_S)
            assert second.taken_over
            unit.work.release_shard(second.lease)
        with database.write() as unit:
            assert not unit.work.claim_shard("third", LEASE_S).taken_over

    def test_a_shard_takes_few_statements(self, database, running):
        running(2)
        statements = []
        engine = database._engine

        def count(_connection, _cursor, statement, *_):
            if not statement.startswith(("BEGIN", "SELECT 1")):
                statements.append(statement)

        sa.event.listen(engine, "before_cursor_execute", count)
        lease = self.claim(database)
        with database.write() as unit:
            unit.work.finish_shard(lease, 1.0, 1)
        sa.event.remove(engine, "before_cursor_execute", count)
        assert len(statements) <= 5, statements


def _requests(count):
    return [CompressRequest("archive", dice_floor=n / 10) for n in range(count)]


class TestSqlite(WorkContract):
    """The embedded database."""

    @pytest.fixture
    def database(self, tmp_path):
        yield from opened(f"sqlite:///{tmp_path / 'state.sqlite'}", Silent())


class TestPostgres(WorkContract):
    """The cluster's database."""

    @pytest.fixture
    def database(self, postgres, migrated):
        yield from opened(postgres.fresh_database(migrated), Silent(), migrated=True)
