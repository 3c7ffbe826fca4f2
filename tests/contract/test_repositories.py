"""What every database behind `ports.jobs` promises. Subclass with another ``database`` to add one."""

import itertools
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from time import sleep

import pytest

from adaslide.adapters.db.ids import is_id, new_id
from adaslide.domain.errors import BrokerUnavailable, Conflict, Held, NotFound
from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import TRANSITIONS, JobState
from adaslide.ports.jobs import RestoreRequest
from adaslide.ports.queue import Message, Task
from contract.records import REQUEST, job_record, opened, package_record, slide_record

PATHS = {  # a legal way to each state
    JobState.QUEUED: [],
    JobState.RUNNING: [JobState.RUNNING],
    JobState.VERIFYING: [JobState.RUNNING, JobState.VERIFYING],
    JobState.SUCCEEDED: [JobState.RUNNING, JobState.VERIFYING, JobState.SUCCEEDED],
    JobState.FAILED: [JobState.FAILED],
    JobState.CANCELLING: [JobState.CANCELLING],
    JobState.CANCELLED: [JobState.CANCELLING, JobState.CANCELLED],
}


class KeepingQueue:
    """Keeps what it is sent, unless it is ``down``."""

    def __init__(self):
        self.sent = []
        self.down = False

    def send(self, message):
        if self.down:
            raise BrokerUnavailable("down")
        self.sent.append(message)


class RepositoryContract:
    """The promises."""

    @pytest.fixture
    def queue(self):
        return KeepingQueue()

    @pytest.fixture
    def slide(self, database):
        slide = slide_record("case 7")
        with database.write() as unit:
            unit.slides.add(slide)
        return slide

    @pytest.fixture
    def job(self, database, slide):
        job = job_record(slide)
        with database.write() as unit:
            unit.jobs.add(job)
        return job

    def test_a_slide_is_found_by_id_and_by_alias(self, database, slide):
        with database.read() as unit:
            assert unit.slides.find(slide.id) == slide
            assert unit.slides.find("case 7") == slide
            assert unit.slides.get(slide.id) == slide

    def test_an_alias_is_taken_once(self, database, slide):
        with pytest.raises(Conflict), database.write() as unit:
            unit.slides.add(slide_record("case 7"))

    def test_what_is_another_tenants_does_not_exist(self, database, slide, job):
        theirs = slide_record("case 7", tenant="elsewhere")
        with database.write() as unit:
            unit.slides.add(theirs)
        with database.read() as unit:
            assert unit.slides.find("case 7", "elsewhere") == theirs
            assert unit.slides.page(9, tenant="elsewhere") == [theirs]
            assert unit.slides.page(9) == [slide]
            for key in (slide.id, theirs.id):
                with pytest.raises(NotFound):
                    unit.slides.find(key, "third")
            with pytest.raises(NotFound):
                unit.jobs.get(job.id, "elsewhere")
            assert unit.jobs.get(job.id, slide.tenant) == unit.jobs.get(job.id) == job
            assert unit.jobs.page(9, tenant="elsewhere") == []

    def test_a_hold_is_set_and_lifted(self, database, slide, job):
        with database.write() as unit:
            unit.packages.add(package_record(job, slide))
            for hold in ({"by": "x"}, None):
                unit.slides.set_hold(slide.id, hold)
                unit.packages.set_hold(job.package_id, hold)
                assert unit.slides.get(slide.id).hold == unit.packages.get(job.package_id).hold == hold

    @pytest.mark.parametrize("held", ["slide", "package"])
    def test_what_is_held_is_not_removed(self, database, slide, job, held):
        package = package_record(job, slide)
        with database.write() as unit:
            unit.packages.add(package)
            repository, held_id = {
                "slide": (unit.slides, slide.id),
                "package": (unit.packages, package.id),
            }[held]
            repository.set_hold(held_id, {"by": "x"})
        with pytest.raises(Held), database.write() as unit:
            unit.packages.remove(package.id)
        with database.write() as unit:
            getattr(unit, f"{held}s").set_hold(held_id, None)
            unit.packages.remove(package.id)
        with database.write() as unit, pytest.raises(NotFound):
            unit.packages.remove(package.id)

    def test_objects_are_kept_as_long_as_any_row_names_them(self, database, slide, job):
        made = package_record(job, slide)
        twin = slide_record("twin")
        adopting = job_record(twin)
        adopted = replace(package_record(adopting, twin), location=made.location)
        with database.write() as unit:
            unit.slides.add(twin)
            unit.jobs.add(adopting)
            for each in (job, adopting):
                unit.jobs.transition(each.id, JobState.FAILED)
                unit.jobs.mark_swept(each.id)
            unit.packages.add(made)
            unit.packages.add(adopted)
            assert unit.packages.kept(adopting) is None
            unit.packages.remove(made.id)
            assert unit.packages.kept(job) == made.location
            assert unit.packages.of_slide(twin.id) == [adopted]
            unit.packages.remove(adopted.id)
            assert unit.packages.kept(job) is None
            # Whoever sweeps looks again at the job that wrote them.
            assert [j.id for j in unit.jobs.unswept(0)] == [job.id]

    def test_slides_are_listed_by_alias_and_by_bytes(self, database, slide):
        other = slide_record("other", sha256="1" * 64)
        with database.write() as unit:
            unit.slides.add(other)
        with database.read() as unit:
            assert unit.slides.page(9, alias="case 7") == unit.slides.page(9, sha256="0" * 64) == [slide]
            assert unit.slides.page(9, alias="case") == []

    def test_many_slides_without_alias(self, database):
        with database.write() as unit:
            unit.slides.add(slide_record())
            unit.slides.add(slide_record())
        with database.read() as unit:
            assert [slide.alias for slide in unit.slides.page(9)] == [None, None]

    @pytest.mark.parametrize("what", ["slides", "packages", "jobs"])
    def test_what_is_not_there_is_not_found(self, database, what):
        with database.read() as unit, pytest.raises(NotFound):
            getattr(unit, what).get(new_id())

    def test_pages_go_from_new_to_old_without_gap(self, database):
        slides = [replace(slide_record(), id=f"{n:026}") for n in range(5)]
        with database.write() as unit:
            for slide in slides:
                unit.slides.add(slide)
        with database.read() as unit:
            first = unit.slides.page(2)
            second = unit.slides.page(9, before=first[-1].id)
        assert [*first, *second] == slides[::-1]

    def test_an_error_undoes_changes_and_drops_messages(self, database, queue):
        slide = slide_record()
        with suppress(RuntimeError), database.write() as unit:
            unit.slides.add(slide)
            unit.send(Message(Task.PLAN, ("x",)))
            raise RuntimeError
        assert queue.sent == []
        with database.read() as unit, pytest.raises(NotFound):
            unit.slides.get(slide.id)

    @pytest.mark.parametrize("task", [Task.PLAN, Task.SHARD])
    def test_messages_leave_after_the_commit(self, database, queue, task):
        message = Message(task, ("x",))
        with database.write() as unit:
            unit.send(message)
            assert queue.sent == []
        assert queue.sent == [message]
        with database.write() as unit:
            assert unit.work.unsent(9) == {}

    def test_a_message_survives_a_broker_that_is_down(self, database, queue):
        queue.down = True
        with database.write() as unit:
            unit.send(Message(Task.PLAN, ("x",)))
            unit.send(Message(Task.SHARD, ()))
        with database.write() as unit:
            assert unit.work.unsent(9) == {}  # its writer may still be at it
            unit.work.forget_leases()
            found = unit.work.unsent(9)
            assert list(found.values()) == [Message(Task.PLAN, ("x",))]
            unit.work.sent(list(found))
        with database.write() as unit:
            assert unit.work.unsent(9) == {}

    def test_a_delayed_message_waits_in_the_outbox(self, database, queue):
        with database.write() as unit:
            unit.send(Message(Task.PLAN, ("x",), delay=0.3))
        assert queue.sent == []
        with database.write() as unit:
            assert unit.work.unsent(9) == {}
        sleep(0.4)
        with database.write() as unit:
            assert list(unit.work.unsent(9).values()) == [Message(Task.PLAN, ("x",))]

    def test_a_job_comes_back_as_it_went_in(self, database, job):
        with database.read() as unit:
            assert unit.jobs.get(job.id) == job
            assert unit.jobs.page(5, slide_id=job.slide_id) == [job]
            assert unit.jobs.page(5, slide_id=new_id()) == []

    @pytest.mark.parametrize(("source", "target"), list(itertools.product(JobState, JobState)))
    def test_states_change_along_the_table_only(self, database, job, source, target):
        with database.write() as unit:
            assert all(unit.jobs.transition(job.id, state) for state in PATHS[source])
            assert unit.jobs.transition(job.id, target) == (target in TRANSITIONS[source])
            expected = target if target in TRANSITIONS[source] else source
            assert unit.jobs.get(job.id).state is expected

    def test_a_failure_keeps_its_problem_and_its_time(self, database, job):
        with database.write() as unit:
            unit.jobs.transition(job.id, JobState.FAILED, problem={"type": "/problems/missing-mpp"})
        with database.read() as unit:
            failed = unit.jobs.get(job.id)
        assert failed.problem == {"type": "/problems/missing-mpp"}
        assert failed.finished_at - failed.created_at < timedelta(minutes=1)

    def test_the_same_work_is_not_queued_twice(self, database, slide, job):
        with pytest.raises(Conflict), database.write() as unit:
            unit.jobs.add(job_record(slide))
        with database.write() as unit:
            unit.jobs.add(job_record(slide, replace(REQUEST, dice_floor=0.5)))
            assert unit.jobs.active(slide.id, REQUEST).id == job.id
            unit.jobs.transition(job.id, JobState.FAILED)
            assert unit.jobs.active(slide.id, REQUEST) is None
            unit.jobs.add(job_record(slide))

    def test_work_adds_up_and_the_peak_stays(self, database, job):
        with database.write() as unit:
            unit.jobs.add_work(job.id, 1.5, 2**33)
            unit.jobs.add_work(job.id, 2.0, 5)
            assert (unit.jobs.get(job.id).seconds, unit.jobs.get(job.id).peak_rss_bytes) == (3.5, 2**33)
            assert [unit.jobs.begin_attempt(job.id) for _ in range(2)] == [1, 2]

    def test_events_are_read_from_where_one_stopped(self, database, job):
        with database.write() as unit:
            unit.jobs.transition(job.id, JobState.RUNNING)
            unit.jobs.log(job.id, "retry", {"attempt": 2})
        with database.read() as unit:
            events = unit.jobs.events(job.id)
            assert [(e.kind, e.data) for e in events] == [
                ("state", {"state": "queued"}),
                ("state", {"state": "running"}),
                ("retry", {"attempt": 2}),
            ]
            assert unit.jobs.events(job.id, after=events[1].id) == events[2:]

    def test_unfinished_jobs_are_those_to_take_up_again(self, database, slide, job):
        other = job_record(slide, replace(REQUEST, mpp=0.5))
        with database.write() as unit:
            unit.jobs.add(other)
            unit.jobs.transition(other.id, JobState.FAILED)
            assert [j.id for j in unit.jobs.unfinished()] == [job.id]
            assert unit.jobs.count_unfinished(slide.tenant) == (1, 1)
            assert unit.jobs.count_unfinished("elsewhere") == (1, 0)

    def test_ended_jobs_are_swept_once(self, database, job):
        with database.write() as unit:
            assert unit.jobs.unswept(0) == []
            unit.jobs.transition(job.id, JobState.FAILED)
            assert unit.jobs.unswept(60) == []
            assert [j.id for j in unit.jobs.unswept(0)] == [job.id]
            unit.jobs.mark_swept(job.id)
            assert unit.jobs.unswept(0) == []

    def test_a_failed_job_can_begin_anew(self, database, job):
        with database.write() as unit:
            unit.jobs.transition(job.id, JobState.RUNNING)
            unit.jobs.begin_attempt(job.id)
            unit.work.add_shards(job.id, {ShardIndex(0, 0): 4})
            unit.jobs.transition(job.id, JobState.FAILED, problem={"code": "x"})
            assert unit.jobs.transition(job.id, JobState.QUEUED)
            again = unit.jobs.get(job.id)
            assert (again.state, again.attempts, again.total, again.problem) == (JobState.QUEUED, 0, 0, None)
            assert again.finished_at is None
            assert not unit.work.planned(job.id)

    def test_packages_are_found_by_their_request(self, database, slide, job):
        package = package_record(job, slide)
        twin, stranger = slide_record("twin"), slide_record("stranger", tenant="elsewhere")
        with database.write() as unit:
            for other in (twin, stranger):
                unit.slides.add(other)
            unit.packages.add(package)
        with database.read() as unit:
            assert unit.packages.get(package.id) == unit.packages.matching(slide, REQUEST) == package
            assert unit.packages.matching(slide, replace(REQUEST, mpp=0.5)) is None
            assert unit.packages.of_slide(slide.id) == [package]
            assert unit.packages.kept(job) == package.location
            # The same bytes: of the same tenant it is the same work, of another it is not known.
            assert unit.packages.matching(twin, REQUEST) == package
            assert unit.packages.matching(stranger, REQUEST) is None
            assert unit.packages.matching(replace(slide, sha256="1" * 64), REQUEST) is None

    def test_a_target_ratio_is_part_of_the_request(self, database, slide, job):
        aimed = replace(job, id=new_id(), package_id=new_id(), request=replace(REQUEST, target_ratio=5.5))
        with database.write() as unit:
            unit.jobs.add(aimed)
        with database.read() as unit:
            assert unit.jobs.get(aimed.id).request.target_ratio == 5.5
            assert unit.jobs.active(slide.id, aimed.request).id == aimed.id
            assert unit.jobs.active(slide.id, REQUEST).id == job.id

    def test_progress_of_a_job_without_shards(self, database, job):
        with database.write() as unit:
            unit.jobs.set_progress(job.id, 1, 9)
            assert unit.jobs.get(job.id).total == 0
            unit.jobs.transition(job.id, JobState.RUNNING)
            for done in (0, 0, 3, 9):
                unit.jobs.set_progress(job.id, done, 9)
                assert (unit.jobs.get(job.id).done, unit.jobs.get(job.id).total) == (done, 9)
        with database.read() as unit:
            told = [event.data["done"] for event in unit.jobs.events(job.id) if event.kind == "progress"]
        assert told == [0, 9]

    def test_a_file_is_found_as_long_as_it_is_kept(self, database, slide):
        request = RestoreRequest("p", "tiff", 2)
        jobs = sorted((job_record(slide, request) for _ in range(2)), key=lambda job: job.id)
        for job in jobs:
            with database.write() as unit:
                unit.jobs.add(job)
                assert unit.jobs.restored(slide.id, request) != job
                for state in PATHS[JobState.SUCCEEDED]:
                    unit.jobs.transition(job.id, state)
                unit.jobs.set_result(job.id, {"token": 1})
        with database.read() as unit:
            assert unit.jobs.restored(slide.id, request).id == jobs[-1].id
            assert unit.jobs.restored(slide.id, replace(request, level=1)) is None
            assert unit.jobs.restored(new_id(), request) is None
        with database.write() as unit:
            unit.jobs.expire_results(-1)
            assert unit.jobs.restored(slide.id, request) is None

    def test_an_idempotency_key_is_used_once(self, database, job):
        with database.write() as unit:
            unit.keys.add("k", "print", job.id)
            assert unit.keys.get("k") == ("print", job.id)
            assert unit.keys.get("other") is None
        with pytest.raises(Conflict), database.write() as unit:
            unit.keys.add("k", "print", job.id)

    def test_writers_wait_for_each_other(self, database, job):
        def count():
            for _ in range(20):
                with database.write() as unit:
                    unit.jobs.begin_attempt(job.id)

        threads = [Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.read() as unit:
            assert unit.jobs.get(job.id).attempts == 80

    def test_it_answers(self, database):
        database.ping()


class TestSqlite(RepositoryContract):
    """The embedded database."""

    @pytest.fixture
    def database(self, tmp_path, queue):
        yield from opened(f"sqlite:///{tmp_path / 'state.sqlite'}", queue)


class TestPostgres(RepositoryContract):
    """The cluster's database."""

    @pytest.fixture
    def database(self, postgres, migrated, queue):
        yield from opened(postgres.fresh_database(migrated), queue, migrated=True)


def test_ids_are_opaque_unique_and_sort_by_time():
    ids = [new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(map(is_id, ids))
    assert [i[:9] for i in ids] == sorted(i[:9] for i in ids)
    assert not is_id("case-7")
