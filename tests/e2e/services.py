"""The real service as its callers see it: embedded as `adaslide serve` starts it, and as a cluster."""

import time
from collections import Counter
from contextlib import suppress
from itertools import cycle

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from adaslide.adapters.objects.prefixed import PrefixedStore
from adaslide.adapters.objects.s3 import s3_store
from e2e.processes import START_S, Api, Process, Worker

JOB_S = 280
TERMINAL = {"succeeded", "failed", "cancelled"}


def stopped(processes):
    """Asks them all to stop, then waits: their exit statuses."""
    asked = list(processes)
    for process in asked:
        process.process.terminate()
    return [process.ended() for process in asked]


def problem(answer, status, code):
    """The document of an answer that is refused with ``code``."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"/problems/{code}", status)
    return body


class TakingTurns(httpx.BaseTransport):
    """Sends each request to the next of ``apis`` that listens, as a load balancer would."""

    def __init__(self, apis):
        self._apis = apis
        self._turns = cycle(apis)
        self._transport = httpx.HTTPTransport()

    def handle_request(self, request):
        for _ in self._apis:
            chosen = httpx.URL(next(self._turns).url)
            request.url = request.url.copy_with(host=chosen.host, port=chosen.port)
            with suppress(httpx.ConnectError):
                return self._transport.handle_request(request)
        raise httpx.ConnectError("no API listens", request=request)

    def close(self):
        self._transport.close()


class Caller:
    """What a caller does with a service, whichever way it runs: ``client`` talks to it."""

    apis = ()
    workers = ()
    """Processes that do nothing else."""

    def __init__(self):
        self.client = httpx.Client(timeout=60, transport=TakingTurns(self.apis))

    @property
    def processes(self):
        return [*self.apis, *self.workers]

    def ready(self):
        """Waits until all of it can work."""
        for process in self.processes:
            process.first_line()
        self.client.base_url = f"{self.apis[0].url}/"
        for api in self.apis:
            self.wait(lambda url=f"{api.url}/readyz": httpx.get(url, timeout=60).status_code == 200, START_S)

    @property
    def alive(self):
        return all(api.running for api in self.apis)

    def wait(self, done, seconds=JOB_S):
        """Polls ``done`` until it gives something true, which is returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := done():
                return found
            assert self.alive, self.log_text()
            time.sleep(0.05)
        pytest.fail(f"waited {seconds} s in vain:\n{self.log_text()}")

    def job(self, job_id):
        """The job once it has ended."""

        def ended():
            job = self.client.get(f"/jobs/{job_id}").json()
            return job if job["state"] in TERMINAL else None

        return self.wait(ended)

    def compress(self, slide, **body):
        """The job of a compression that is asked for and awaited."""
        answer = self.client.post(f"/slides/{slide}/compress", json=body)
        assert answer.status_code == 202, answer.text
        return self.job(answer.json()["id"])

    def everywhere(self, path):
        """The answers of all its APIs, each asked once."""
        return [self.client.get(path) for _ in self.apis]

    def metrics(self):
        """{(name, *labels): value}, the sums over its processes."""
        found = Counter()
        for process in self.processes:
            answer = httpx.get(f"{process.metrics_url}/metrics", timeout=30).raise_for_status()
            for family in text_string_to_metric_families(answer.text):
                for sample in family.samples:
                    found[sample.name, *sorted(sample.labels.items())] += sample.value
        return found

    def logged(self):
        """{process's log: how much there is of it by now}."""
        return {process.log: process.log.stat().st_size for process in self.processes}

    def log_text(self, after=None):
        """Of all its processes, without what was `logged` before."""
        return "".join(log.read_bytes()[(after or {}).get(log, 0) :].decode() for log in self.logged())

    def _casualties(self):
        return self.processes

    def kill(self):
        """Power is cut, though one of a cluster's APIs stays. Returns the children of what was killed."""
        return [child for process in self._casualties() if process.running for child in process.kill()]

    def start_again(self, **settings):
        """Starts what has ended, as a supervisor would, with ``settings`` on top; waits until it works."""
        for process in self.processes:
            if not process.running:
                process.start(**settings)
        self.ready()

    def reconfigure(self, **settings):
        """Starts its APIs again, with ``settings`` on top of those that it was made with."""
        assert set(stopped(self.apis)) == {0}, self.log_text()
        self.start_again(**settings)

    def stop(self):
        """The exit status of each process, all of which should be 0."""
        self.client.close()
        return stopped(process for process in self.processes if process.running)


class Service(Caller):
    """`adaslide serve` on ``data``, with its worker."""

    def __init__(self, data, **settings):
        self.data = data
        self.apis = [Api(data, data.parent / f"{data.name}.log", settings)]
        super().__init__()

    def scratch(self):
        """What unfinished jobs have left."""
        return list((self.data / "scratch").glob("*"))

    def package_ids(self):
        """Of everything that looks like a package, seen or not."""
        return {path.stem.rpartition("-")[0] for path in (self.data / "packages").glob("*")}

    def package_folder(self, package_id):
        """The package as a folder."""
        (path,) = (self.data / "packages").glob(f"{package_id}-*.zarr")
        return path


class Cluster(Caller):
    """``apis`` processes of the API and ``workers`` workers on real servers; ``settings`` for all of them."""

    def __init__(self, folder, postgres, valkey, s3, *, apis=2, workers=3, endpoint=None, **settings):
        """``endpoint`` stands in for the S3 server's own, for the processes alone."""
        self.folder = folder
        self.bucket = s3.fresh_bucket()
        self.database_url = postgres.fresh_database()
        self.broker_url = valkey.fresh_database()
        self._s3 = s3
        given = {
            "DATABASE__URL": self.database_url,
            "DATABASE__MIGRATE": "false",
            "BROKER__URL": self.broker_url,
            "COMPRESSION__WORKERS": 2,
            "COMPRESSION__LEASE_S": 5,
            "COMPRESSION__RECONCILE_S": 0.5,
            **{k.removeprefix("ADASLIDE_"): v for k, v in s3.environment(self.bucket).items()},
            **({"STORE__ENDPOINT": endpoint} if endpoint else {}),
            **settings,
        }
        migration = Process(["migrate"], folder / "migration", folder / "migration.log", given)
        assert migration.process.wait(START_S) == 0, migration.log.read_text()
        migration.process.stdout.close()
        self.apis = [Api(folder / f"api-{n}", folder / f"api-{n}.log", given) for n in range(apis)]
        self.workers = [
            Worker(folder / f"worker-{n}", folder / f"worker-{n}.log", given) for n in range(workers)
        ]
        super().__init__()

    def _casualties(self):
        return [*self.workers, self.apis[0]]

    @property
    def store(self):
        """The bucket's objects."""
        return s3_store(self._s3.settings(self.bucket))

    def scratch(self):
        """What unfinished jobs have left."""
        return list(self.store.list("scratch/"))

    def package_ids(self):
        """Of everything that looks like a package, seen or not."""
        names = {key.split("/")[1] for key, _ in self.store.list("packages/")}
        return {name.rpartition("-")[0] for name in names}

    def package_folder(self, package_id):
        """A copy of the package as a folder."""
        keys = [key for key, _ in self.store.list(f"packages/{package_id}-")]
        (location,) = {key.split("/")[1] for key in keys}
        folder = self.folder / location
        if not folder.exists():
            package = PrefixedStore(self.store, f"packages/{location}")
            for key, _ in package.list():
                target = folder / key
                target.parent.mkdir(parents=True, exist_ok=True)
                package.get_file(key, target)
        return folder
