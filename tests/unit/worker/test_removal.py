"""A package that was removed leaves the store, unless another slide of the same bytes shares its objects."""

from dataclasses import replace

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.domain.job import JobState
from adaslide.ports.queue import Message, Task
from adaslide.settings import Compression
from adaslide_worker.reconciler import Reconciler

SWEEP_AT_ONCE = Compression(lease_s=1e-6, reconcile_s=1e-6)


@pytest.fixture
def twins(bench):
    """The ids of a package that was made and of one that adopted its objects."""
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
    return first.package_id, job.package_id


def remove(bench, package_id):
    """Removes it and lets the sweeping be done; what is left in the store."""
    with bench.database.write() as unit:
        unit.packages.remove(package_id)
    reconciler = Reconciler(bench.database, bench, bench.workspace, SWEEP_AT_ONCE, "sweeper")
    for _ in range(3):
        reconciler.look()
    return sorted(bench.left())


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["the maker first", "the adopted first"])
def test_the_last_one_takes_the_objects_with_it(bench, twins, order):
    before = sorted(bench.left())
    assert before == ["0", "1", "zarr.json"]
    assert remove(bench, twins[order[0]]) == before
    assert remove(bench, twins[order[1]]) == []


def test_what_was_removed_can_be_made_again(bench, twins):
    for package_id in twins:
        remove(bench, package_id)
    with bench.database.read() as unit:
        done = unit.jobs.get(bench.id)
    again = replace(done, id=new_id(), package_id=new_id(), state=JobState.QUEUED)
    with bench.database.write() as unit:
        unit.jobs.add(again)
        unit.send(Message(Task.PLAN, (again.id,)))
    bench.id = again.id
    bench.compute.ran.clear()
    assert bench.run().state is JobState.SUCCEEDED
    assert bench.compute.ran.count("shard") == 2
