"""The real service, observed from outside: its traces, metrics and logs, and that none names a patient."""

import json
import time
from dataclasses import dataclass

import httpx
import pytest

from jpeg_slide import write_jpeg_slide

ALIAS = "Doe^Jane-1961"
SPANS_S = 30
"""They are sent every five seconds, by each process on its own."""
TASKS = {"adaslide.plan_job", "adaslide.compress_shard", "adaslide.finalize_job"}


@dataclass
class Observed:
    """What a service said of itself; ``counted`` is by how much its metrics rose."""

    service: object
    counted: dict
    log: str
    job: dict
    failed: dict


@pytest.fixture(scope="module")
def observed(service, inbox, sample_pixels):
    """A small slide compressed, tiles and errors asked for."""
    slide = inbox / f"{ALIAS}.tif"
    tile = sample_pixels[900:1412, :512]
    write_jpeg_slide(slide, tile)
    before, logged, client = service.metrics(), service.logged(), service.client
    client.put(f"/slides/{ALIAS}", json={"uri": slide.as_uri()}).raise_for_status()
    job = service.compress(ALIAS, profile="exact", mpp=0.499)
    assert job["state"] == "succeeded", job
    for _ in range(2):
        for answer in service.everywhere(f"/slides/{ALIAS}_files/9/0_0.jpg"):
            answer.raise_for_status()
    assert client.get(f"/slides/{ALIAS}/nothing").status_code == 404
    assert client.put("/slides/x", json={"uri": f"file:///nowhere/{ALIAS}.svs"}).status_code == 422
    # The job of a slide whose file is gone fails, with a path in the error.
    slide.unlink()
    failed = service.compress(ALIAS, profile="archive", mpp=0.499)
    assert failed["state"] == "failed", failed
    for answer in service.everywhere("/metrics"):
        answer.raise_for_status()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for process in service.processes:
        assert httpx.get(f"{process.metrics_url}/readyz", timeout=30).status_code == 200
    counted = service.metrics()
    counted.subtract(before)
    return Observed(service, counted, service.log_text(after=logged), job, failed)


def trace_of(job, spans):
    """The spans of the trace that the job's task is in."""
    of_job = [span for span in spans if tells(span, "adaslide.job", job["id"])]
    return [span for span in spans if span.trace_id in {found.trace_id for found in of_job}]


def tells(span, key, value):
    return any(a.key == key and a.value.string_value == value for a in span.attributes)


def test_one_trace_leads_from_the_request_to_the_last_task(observed, collector):
    end = time.monotonic() + SPANS_S
    while missing := TASKS - {span.name for span in trace_of(observed.job, collector.spans)}:
        assert time.monotonic() < end, missing
        time.sleep(0.2)
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    trace = trace_of(observed.job, collector.spans)
    assert len({span.trace_id for span in trace}) == 1
    (asked,) = [span for span in trace if span.name.startswith("POST")]
    assert asked.name == "POST /slides/{key}/compress"
    by_id = {span.span_id: span for span in trace}
    (planned,) = [span for span in trace if span.name == "adaslide.plan_job"]
    shards = [span for span in trace if span.name == "adaslide.compress_shard"]
    assert by_id[planned.parent_span_id] is asked
    assert any(by_id[shard.parent_span_id] is planned for shard in shards)


def test_requests_tiles_and_restoration_are_measured(observed):
    found, apis = observed.counted, len(observed.service.apis)
    assert found["adaslide_tile_seconds_count", ("cache", "hit")] == apis
    assert found["adaslide_tile_seconds_count", ("cache", "miss")] == apis
    assert found["adaslide_restore_seconds_count", ("what", "region")] == apis
    counted = ("adaslide_http_request_seconds_count", ("method", "GET"))
    tiles = ("route", "/slides/{key}_files/{level}/{name}"), ("status", "2xx")
    assert found[(*counted, *tiles)] == 2 * apis
    assert found[(*counted, ("route", "-"), ("status", "4xx"))] == 1


def test_the_log_is_json_and_names_the_job_in_its_trace(observed):
    lines = [json.loads(line) for line in observed.log.splitlines()]
    assert {"at", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    failures = [line for line in lines if line["logger"] == "adaslide_worker.runner"]
    assert failures
    assert {line["job"] for line in failures} == {observed.failed["id"]}
    assert all(line["task"] and line["trace_id"] for line in failures)


def test_nothing_names_the_patient(observed, collector):
    """Not of this test's slide, nor of any that other tests gave the service."""
    assert not any("Doe" in str(part) for part in observed.service.metrics())
    assert "Doe" not in observed.service.log_text()
    assert collector.spans
    assert not any("Doe" in str(request) for _, request in collector.requests)
