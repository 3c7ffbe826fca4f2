"""Who holds work, and what becomes of it when the holder stops, sleeps or dies."""

from adaslide.domain.errors import NotFound, QualityBelowFloor
from adaslide.domain.geometry import ShardIndex
from adaslide.domain.job import JobState


def test_a_stopping_service_gives_the_shard_back(bench):
    bench.compute.during_shard = bench.runner.stopping.set
    assert bench.run().state is JobState.RUNNING
    bench.compute.during_shard = lambda: None
    bench.runner.stopping.clear()
    with bench.database.read() as unit:
        assert unit.work.waiting() == 2
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


def test_a_finalizer_that_fails_in_its_sleep_fails_nobody_elses_job(sleepy):
    """It sleeps through its lease; the second one is at work when the first one wakes up and stumbles."""
    original = sleepy.compute.finalize

    def second(*args, **kwargs):
        sleepy.compute.finalize = original
        raise NotFound("what the first one worked on is gone")

    def first(*args, **kwargs):
        with sleepy.database.write() as unit:
            unit.work.forget_leases()
            assert unit.work.claim(f"finalize/{sleepy.id}", "other", 60) == 2
        second()

    sleepy.compute.finalize = first
    while sleepy.waiting_messages:
        sleepy.step()
    assert sleepy.job.state is JobState.VERIFYING
    assert sleepy.run().state is JobState.SUCCEEDED
