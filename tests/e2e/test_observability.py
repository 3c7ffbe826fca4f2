"""The real service, observed from outside: its traces, metrics and logs, and that none names a patient."""

import json
import socket
import time

import httpx
import pytest
import tifffile
from prometheus_client.parser import text_string_to_metric_families

ALIAS = "Doe^Jane-1961"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def observed(start_service, collector, tmp_path_factory, sample_pixels):
    """(service, its metrics, a job): a small slide compressed, tiles and errors asked for."""
    folder = tmp_path_factory.mktemp("observed")
    slide = folder / f"{ALIAS}.tif"
    tile = sample_pixels[900:1412, :512]
    tifffile.imwrite(slide, tile, photometric="ycbcr", tile=(256, 256), compression="jpeg")
    port = free_port()
    service = start_service(
        folder / "data",
        ALLOWED_ROOTS=folder,
        TELEMETRY__ENDPOINT=collector.url,
        METRICS__PORT=port,
    )
    client = service.client
    client.put(f"/slides/{ALIAS}", json={"uri": slide.as_uri()}).raise_for_status()
    job = service.compress(ALIAS, profile="exact", mpp=0.499)
    assert job["state"] == "succeeded", job
    for _ in range(2):
        client.get(f"/slides/{ALIAS}_files/9/0_0.jpg").raise_for_status()
    assert client.get(f"/slides/{ALIAS}/nothing").status_code == 404
    assert client.put("/slides/x", json={"uri": f"file:///nowhere/{ALIAS}.svs"}).status_code == 422
    # The job of a slide whose file is gone fails, with a path in the error.
    slide.unlink()
    failed = service.compress(ALIAS, profile="archive", mpp=0.499)
    assert failed["state"] == "failed", failed
    own = client.get("/metrics")
    inside = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
    for answer in (own, inside):
        answer.raise_for_status()
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=30).status_code == 200
    assert service.stop() == 0
    return service, samples(inside.text), job


def test_one_trace_leads_from_the_request_to_the_last_task(observed, collector):
    _, _, job = observed
    end = time.monotonic() + 10
    while not any(span.name == "adaslide.finalize_job" for span in collector.spans):
        assert time.monotonic() < end, sorted({span.name for span in collector.spans})
        time.sleep(0.05)
    assert {path for path, _ in collector.requests} == {"/v1/traces"}
    (asked,) = [s for s in collector.spans if s.name.startswith("POST") and has(s, job["id"], collector)]
    assert asked.name == "POST /slides/{key}/compress"
    trace = [span for span in collector.spans if span.trace_id == asked.trace_id]
    by_id = {span.span_id: span for span in trace}
    names = [span.name for span in trace]
    for task in ("adaslide.plan_job", "adaslide.compress_shard", "adaslide.finalize_job"):
        assert task in names
    (planned,) = [span for span in trace if span.name == "adaslide.plan_job"]
    shards = [span for span in trace if span.name == "adaslide.compress_shard"]
    assert by_id[planned.parent_span_id] is asked
    assert any(by_id[shard.parent_span_id] is planned for shard in shards)


def has(span, job_id, collector):
    """Whether the trace of ``span`` is the job's."""
    return any(
        attribute.key == "adaslide.job" and attribute.value.string_value == job_id
        for other in collector.spans
        if other.trace_id == span.trace_id
        for attribute in other.attributes
    )


def test_requests_tiles_and_restoration_are_measured(observed):
    _, found, _ = observed
    assert found["adaslide_tile_seconds_count", ("cache", "hit")] == 1
    assert found["adaslide_tile_seconds_count", ("cache", "miss")] == 1
    assert found["adaslide_restore_seconds_count", ("what", "region")] == 1
    counted = ("adaslide_http_request_seconds_count", ("method", "GET"))
    assert found[(*counted, ("route", "/slides/{key}_files/{level}/{name}"), ("status", "2xx"))] == 2
    assert found[(*counted, ("route", "-"), ("status", "4xx"))] == 1


def test_the_log_is_json_and_names_the_job_in_its_trace(observed):
    service, _, job = observed
    lines = [json.loads(line) for line in service.log_text().splitlines()]
    assert {"at", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    failures = [line for line in lines if line["logger"] == "adaslide_worker.runner"]
    assert failures
    assert all(line["job"] != job["id"] and line["task"] and line["trace_id"] for line in failures)


def test_nothing_names_the_patient(observed, collector):
    service, found, _ = observed
    assert not any("Doe" in str(part) for part in found)
    assert "Doe" not in service.log_text()
    assert collector.spans
    assert not any("Doe" in str(request) for _, request in collector.requests)
