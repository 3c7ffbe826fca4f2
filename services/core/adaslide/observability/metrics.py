"""Metrics of one process, for Prometheus. Labels have few values: no id, no name, no path.

What happens is counted where it happens. What merely is (how long the queue is) stands in the database and
is read from there at each scrape, so that it is true however many processes there are.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adaslide.domain.errors import AdaSlideError, InputError, NotFound
from adaslide.domain.job import JobState
from adaslide.ports.gauges import JobGauges, ShardState, WorkGauges

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: bounds for what a person waits for."""
SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds: bounds for whole jobs, too."""


class Metrics:
    """Everything that is counted, in a registry of its own: two of them do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._patches = self._counter("patches", "Patches encoded, measured and written.")
        self._packages = self._counter("packages", "Packages finished.")
        self._bytes_in = self._counter("source_bytes", "Bytes of the sources of finished packages.")
        self._bytes_out = self._counter("package_bytes", "Bytes of finished packages.")
        self._demoted = self._counter("demotions", "Patches moved to a safer rung than was proposed.")
        self._promoted = self._counter("promotions", "Patches moved to a cheaper rung than was proposed.")
        self._not_restored = self._counter(
            "not_restored", "Patches of which nothing may be restored, by why.", "why"
        )
        self._violations = self._counter("violations", "Patches of finished packages below a floor.")
        self._leases = self._counter(
            "leases_expired", "Leases taken over from a worker that stopped renewing."
        )
        self._retries = self._counter(
            "retries", "Failures of a task that passed and were tried again.", "task"
        )
        self._restored = self._histogram("restore_seconds", "Reading and restoring pixels.", SLOW, "what")
        self._tiles = self._histogram("tile_seconds", "Answering for a tile or a region.", FAST, "cache")
        self._requests = self._histogram(
            "http_request_seconds", "Answering a request.", FAST, "method", "route", "status"
        )
        self._store = self._histogram("store_seconds", "One call of the object store.", FAST, "operation")
        self._store_errors = self._counter(
            "store_errors", "Calls of the object store that failed.", "operation", "code"
        )

    def patches(self, count: int) -> None:
        """``count`` more patches are encoded, measured and written."""
        self._patches.inc(count)

    def package_finished(self, totals: dict[str, Any]) -> None:
        """A package is published; ``totals`` are those of `pipeline.totals.totals_of`."""
        self._packages.inc()
        self._bytes_in.inc(totals["source_bytes"])
        self._bytes_out.inc(totals["package_bytes"])
        self._demoted.inc(totals["demoted"])
        self._promoted.inc(totals["promoted"])
        self._violations.inc(totals["violations"])
        for why, count in totals["patches"]["not_restored"].items():
            self._not_restored.labels(why).inc(count)

    def leases_expired(self, count: int) -> None:
        """``count`` leases ran out and were taken over."""
        self._leases.inc(count)

    def retried(self, task: str) -> None:
        """A task (its name on the wire) failed in passing and will be tried again."""
        self._retries.labels(task).inc()

    def restored(self, seconds: float, what: str = "region") -> None:
        """Pixels were read and restored: ``what`` is ``region`` for an answer, ``job`` for a whole file."""
        self._restored.labels(what).observe(seconds)

    def tile(self, seconds: float, *, cached: bool) -> None:
        """A tile or a region was answered for."""
        self._tiles.labels("hit" if cached else "miss").observe(seconds)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered; ``route`` is the pattern, never the path."""
        self._requests.labels(method, route, f"{status // 100}xx").observe(seconds)

    @contextmanager
    def store_call(self, operation: str) -> Iterator[None]:
        """Measures one call of the object store; an error of it is counted by its code and goes on.

        That there is no such object, or could be none, is an answer and no error of the store.
        """
        started = perf_counter()
        try:
            yield
        except (NotFound, InputError):
            raise
        except Exception as error:
            code = error.code if isinstance(error, AdaSlideError) else AdaSlideError.code
            self._store_errors.labels(operation, code).inc()
            raise
        finally:
            self._store.labels(operation).observe(perf_counter() - started)

    def watch(self, gauges: JobGauges) -> None:
        """Reads ``gauges`` at every scrape from now on. Once per registry."""
        self.registry.register(_WorkCollector(gauges))

    def watch_disk(self, folder: Path) -> None:
        """Reads at every scrape how full the disk is on which ``folder`` lies. Once per registry."""
        self.registry.register(_DiskCollector(folder))

    def text(self) -> bytes:
        """Everything in Prometheus's text format, `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"adaslide_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"adaslide_{name}", text, labels, buckets=bounds, registry=self.registry)


class _WorkCollector(Collector):
    """The gauges that stand in the database."""

    def __init__(self, gauges: JobGauges) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[Metric]:
        """The names alone: registering asks no database."""
        return [*_families(WorkGauges(canary_age_s=0.0)), _up(answered=True)]

    def collect(self) -> Iterator[Metric]:
        try:
            work = self._gauges.read()
        except Exception:  # a scrape that fails would hide the counters, and with them why
            yield _up(answered=False)
            return
        yield _up(answered=True)
        yield from _families(work)


class _DiskCollector(Collector):
    """How full a disk is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        try:
            usage = shutil.disk_usage(self._folder)
        except OSError:  # not made yet
            return
        text = "Of the disk with the data folder."
        yield GaugeMetricFamily("adaslide_data_free_bytes", text, value=usage.free)
        yield GaugeMetricFamily("adaslide_data_size_bytes", text, value=usage.total)


def _up(*, answered: bool) -> Metric:
    text = "Whether the database answered this scrape; without it the gauges of work are absent."
    return GaugeMetricFamily("adaslide_database_up", text, value=float(answered))


def _families(work: WorkGauges) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "adaslide_queue_age_seconds",
        "Time for which the oldest claimable shard has waited for a worker.",
        value=work.oldest_claimable_s,
    )
    shards = GaugeMetricFamily("adaslide_queue_shards", "Unfinished shards.", labels=["state"])
    for state in ShardState:
        shards.add_metric([state], work.shards.get(state, 0))
    yield shards
    jobs = GaugeMetricFamily("adaslide_jobs", "Jobs, finished ones too.", labels=["state"])
    for job_state in JobState:
        jobs.add_metric([job_state], work.jobs.get(job_state, 0))
    yield jobs
    if work.canary_age_s is not None:
        yield GaugeMetricFamily(
            "adaslide_canary_age_seconds",
            "Time since a worker last consumed a message.",
            value=work.canary_age_s,
        )
