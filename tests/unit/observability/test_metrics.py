"""Metrics: what is counted, what is read at a scrape, and the server that hands it out."""

import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adaslide.adapters.objects.memory import MemoryStore
from adaslide.adapters.objects.observed import ObservedStore
from adaslide.domain.errors import NotFound, StoreUnavailable, Unavailable
from adaslide.domain.job import JobState
from adaslide.observability.metrics import Metrics
from adaslide.observability.readiness import Probe, Readiness
from adaslide.observability.server import metrics_server
from adaslide.ports.gauges import ShardState, WorkGauges


class Gauges:
    """`JobGauges` that says what it is told to."""

    def __init__(self, work):
        self.work = work

    def read(self):
        if self.work is None:
            raise StoreUnavailable("the database does not answer")
        return self.work


def samples(metrics):
    """{(name, labels): value} of everything that is exposed."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_a_finished_package_is_counted(archive_package):
    _, totals = archive_package
    metrics = Metrics()
    metrics.package_finished(totals)
    metrics.package_finished(totals)
    found = samples(metrics)
    assert found["adaslide_packages_total", ()] == 2
    assert found["adaslide_source_bytes_total", ()] == 2 * totals["source_bytes"]
    assert found["adaslide_package_bytes_total", ()] == 2 * totals["package_bytes"]
    assert found["adaslide_demotions_total", ()] == 2 * totals["demoted"]
    assert found["adaslide_promotions_total", ()] == 2 * totals["promoted"]
    assert found["adaslide_violations_total", ()] == 0


def test_what_was_not_restored_is_counted_by_why(archive_package):
    _, totals = archive_package
    barred = dict.fromkeys(totals["patches"]["not_restored"], 3)
    metrics = Metrics()
    metrics.package_finished(totals | {"patches": totals["patches"] | {"not_restored": barred}})
    found = {
        labels: value for (name, labels), value in samples(metrics).items() if "not_restored_total" in name
    }
    assert found == {(("why", why),): 3 for why in ("protected", "unknown_stain", "unknown_focus")}


def test_what_happens_is_counted():
    metrics = Metrics()
    metrics.patches(3)
    metrics.patches(4)
    metrics.leases_expired(2)
    metrics.retried("adaslide.compress_shard")
    metrics.tile(0.004, cached=True)
    metrics.tile(0.2, cached=False)
    metrics.restored(7.0, "job")
    found = samples(metrics)
    assert found["adaslide_patches_total", ()] == 7
    assert found["adaslide_leases_expired_total", ()] == 2
    assert found["adaslide_retries_total", (("task", "adaslide.compress_shard"),)] == 1
    assert found["adaslide_tile_seconds_count", (("cache", "hit"),)] == 1
    assert found["adaslide_tile_seconds_sum", (("cache", "miss"),)] == 0.2
    assert found["adaslide_restore_seconds_sum", (("what", "job"),)] == 7


def test_two_registries_do_not_meet():
    first, second = Metrics(), Metrics()
    first.patches(1)
    assert samples(second)["adaslide_patches_total", ()] == 0


def test_the_work_is_read_at_each_scrape():
    metrics, gauges = Metrics(), Gauges(WorkGauges())
    metrics.watch(gauges)
    empty = samples(metrics)
    assert empty["adaslide_queue_age_seconds", ()] == 0
    assert ("adaslide_canary_age_seconds", ()) not in empty
    assert {labels for name, labels in empty if name == "adaslide_jobs"} == {
        (("state", state.value),) for state in JobState
    }
    gauges.work = WorkGauges(12.5, {ShardState.CLAIMABLE: 4}, {JobState.RUNNING: 2}, 3.0)
    found = samples(metrics)
    assert found["adaslide_queue_age_seconds", ()] == 12.5
    assert found["adaslide_queue_shards", (("state", "claimable"),)] == 4
    assert found["adaslide_queue_shards", (("state", "leased"),)] == 0
    assert found["adaslide_jobs", (("state", "running"),)] == 2
    assert found["adaslide_canary_age_seconds", ()] == 3
    assert found["adaslide_database_up", ()] == 1


def test_a_database_that_is_gone_does_not_hide_the_counters():
    metrics = Metrics()
    metrics.patches(5)
    metrics.watch(Gauges(None))
    found = samples(metrics)
    assert found["adaslide_database_up", ()] == 0
    assert found["adaslide_patches_total", ()] == 5
    assert ("adaslide_queue_age_seconds", ()) not in found


class BrokenStore(MemoryStore):
    """Gone."""

    def get(self, key):
        raise StoreUnavailable("the store does not answer")


def test_calls_of_a_store_are_measured_and_only_its_own_failures_are_errors():
    metrics = Metrics()
    store = ObservedStore(MemoryStore(), metrics)
    store.put("a/b", b"1")
    with pytest.raises(NotFound):
        store.get("nothing")
    with pytest.raises(StoreUnavailable):
        ObservedStore(BrokenStore(), metrics).get("a/b")
    found = samples(metrics)
    assert found["adaslide_store_seconds_count", (("operation", "put"),)] == 1
    assert found["adaslide_store_seconds_count", (("operation", "get"),)] == 2
    errors = {
        labels: value for (name, labels), value in found.items() if name == "adaslide_store_errors_total"
    }
    assert errors == {(("code", "store-unavailable"), ("operation", "get")): 1}


def test_the_disk_is_read_at_each_scrape(tmp_path):
    metrics = Metrics()
    metrics.watch_disk(tmp_path / "folder")
    assert not any(name.startswith("adaslide_data") for name, _ in samples(metrics))
    (tmp_path / "folder").mkdir()
    found = samples(metrics)
    assert 0 < found["adaslide_data_free_bytes", ()] <= found["adaslide_data_size_bytes", ()]


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_server_gives_metrics_and_health():
    metrics = Metrics()
    metrics.patches(2)
    works = [True]

    def part():
        if not works[0]:
            raise Unavailable("gone")

    readiness = Readiness([Probe("part", part)])
    with metrics_server(0, "127.0.0.1", metrics, readiness) as port:
        status, text = fetch(port, "/metrics")
        assert status == 200
        assert "adaslide_patches_total 2.0" in text.splitlines()
        assert fetch(port, "/healthz")[0] == 200
        assert fetch(port, "/readyz")[0] == 200
        works[0] = False
        status, text = fetch(port, "/readyz")
        assert (status, json.loads(text)["checks"]) == (503, {"part": "failed"})
        assert fetch(port, "/readyz?exclude=other&exclude=part")[0] == 200
        assert fetch(port, "/else")[0] == 404
        with (
            pytest.raises(Unavailable, match="is taken"),
            metrics_server(port, "127.0.0.1", metrics),
        ):
            pass
    with pytest.raises(urllib.error.URLError):
        fetch(port, "/metrics")
