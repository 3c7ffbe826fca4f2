"""The real service in processes of its own: embedded as `adaslide serve` starts it, and as a cluster."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from itertools import cycle

import httpx
import psutil
import pytest

from adaslide.adapters.objects.prefixed import PrefixedStore
from adaslide.adapters.objects.s3 import s3_store

START_S, JOB_S = 90, 280
TERMINAL = {"succeeded", "failed", "cancelled"}
SKEWED = """
import datetime, time
real, seconds = time.time, {seconds}
time.time = lambda: real() + seconds
class Skewed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=seconds)
    @classmethod
    def utcnow(cls):
        return cls.now(datetime.UTC).replace(tzinfo=None)
datetime.datetime = Skewed
"""


class Process:
    """``adaslide ARGUMENTS`` with ``settings`` (names without ADASLIDE_); its log is the file ``log``.

    Its clock is ``skew_s`` seconds wrong.
    """

    def __init__(self, arguments, log, settings, skew_s=0):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ADASLIDE_")}
        environment |= {f"ADASLIDE_{k}": str(v) for k, v in settings.items()}
        self.log = log
        main = f"import sys; from adaslide.cli import main; sys.argv = {['adaslide', *arguments]}; main()"
        main = (SKEWED.format(seconds=skew_s) if skew_s else "") + main
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", main], env=environment, stdout=subprocess.PIPE, stderr=file, text=True
            )

    def first_line(self):
        """What it says once it works."""
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=START_S)
        except queue.Empty:
            line = ""
        if not line:
            pytest.fail(f"the process did not start:\n{self.log.read_text()}")
        return line.strip()

    @property
    def running(self):
        return self.process.poll() is None

    def kill(self):
        """As a power cut would; returns the processes that it had started."""
        children = psutil.Process(self.process.pid).children(recursive=True) if self.running else []
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        return children

    def stop(self, signal_number=signal.SIGTERM):
        """Asks it to stop; returns its exit status."""
        if self.running:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()


class Caller:
    """What a caller does with a service, whichever way it runs. ``client`` talks to it."""

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


class Service(Caller):
    """`adaslide serve` on a free port and ``data``."""

    def __init__(self, data, **settings):
        self.data = data
        log = data.parent / f"{data.name}.log"
        self._process = Process(["serve", "--port", "0"], log, {"DATA_DIR": data, **settings})
        self.process = self._process.process
        self.client = httpx.Client(timeout=60)

    def ready(self):
        """Waits until it can work."""
        self.client.base_url = self._process.first_line().split()[-1]
        self.wait(lambda: self.client.get("/readyz").status_code == 200, START_S)

    @property
    def alive(self):
        return self._process.running

    def log_text(self):
        return self._process.log.read_text()

    def scratch(self):
        """What unfinished jobs have left."""
        return list((self.data / "scratch").iterdir()) if (self.data / "scratch").exists() else []

    def package_ids(self):
        """Of everything that looks like a package, seen or not."""
        return {path.stem.rpartition("-")[0] for path in (self.data / "packages").iterdir()}

    def package_folder(self, package_id):
        """The package as a folder."""
        (path,) = (self.data / "packages").glob(f"{package_id}-*.zarr")
        return path

    def kill(self):
        self.client.close()
        return self._process.kill()

    def stop(self, signal_number=signal.SIGTERM):
        self.client.close()
        return self._process.stop(signal_number)


class TakingTurns(httpx.BaseTransport):
    """Sends each request to the next of ``urls``, as a load balancer would."""

    def __init__(self, urls):
        self._urls = cycle([httpx.URL(url) for url in urls])
        self._transport = httpx.HTTPTransport()

    def handle_request(self, request):
        chosen = next(self._urls)
        request.url = request.url.copy_with(host=chosen.host, port=chosen.port)
        return self._transport.handle_request(request)

    def close(self):
        self._transport.close()


class Cluster(Caller):
    """``apis`` processes of the API and ``workers`` workers on real servers; ``settings`` for all of them."""

    def __init__(self, folder, postgres, valkey, s3, *, apis=2, workers=3, endpoint=None, **settings):
        """``endpoint`` stands in for the S3 server's own, for the processes alone."""
        self.folder = folder
        self.bucket = s3.fresh_bucket()
        self.database_url = postgres.fresh_database()
        self.broker_url = valkey.fresh_database()
        self._s3 = s3
        self._settings = {
            "DATABASE__URL": self.database_url,
            "DATABASE__MIGRATE": "false",
            "BROKER__URL": self.broker_url,
            "COMPRESSION__WORKERS": 2,
            "COMPRESSION__LEASE_S": 10,
            "COMPRESSION__RECONCILE_S": 0.5,
            **{k.removeprefix("ADASLIDE_"): v for k, v in s3.environment(self.bucket).items()},
            **({"STORE__ENDPOINT": endpoint} if endpoint else {}),
            **settings,
        }
        self._count = 0
        migration = self._start("migrate")
        assert migration.process.wait(START_S) == 0, migration.log.read_text()
        migration.process.stdout.close()
        self.apis = [self._start("serve", "--port", "0") for _ in range(apis)]
        self.workers = [self._start("worker") for _ in range(workers)]
        self.logs = [p.log for p in (*self.apis, *self.workers)]
        self.client = None

    def _start(self, *arguments, skew_s=0):
        self._count += 1
        name = f"{arguments[0]}-{self._count}"
        own = {"DATA_DIR": self.folder / name}
        return Process(arguments, self.folder / f"{name}.log", own | self._settings, skew_s)

    def ready(self):
        """Waits until all of it can work."""
        urls = [api.first_line().split()[-1].rstrip("/") for api in self.apis]
        for worker in self.workers:
            assert worker.first_line() == "AdaSlide works"
        self.client = httpx.Client(timeout=60, base_url=f"{urls[0]}/", transport=TakingTurns(urls))
        for _ in urls:
            self.wait(lambda: self.client.get("/readyz").status_code == 200, START_S)

    def start_worker(self, skew_s=0):
        """One more, as a supervisor would start it."""
        worker = self._start("worker", skew_s=skew_s)
        self.workers.append(worker)
        self.logs.append(worker.log)
        return worker

    @property
    def alive(self):
        return all(api.running for api in self.apis)

    def log_text(self):
        return "\n".join(f"{log.name}:\n{log.read_text()}" for log in self.logs)

    @property
    def store(self):
        """The bucket's objects."""
        return s3_store(self._s3.settings(self.bucket))

    def scratch(self):
        return list(self.store.list("scratch/"))

    def package_ids(self):
        names = {key.split("/")[1] for key, _ in self.store.list("packages/")}
        return {name.rpartition("-")[0] for name in names}

    def package_folder(self, package_id):
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

    def stop(self):
        """Exit statuses, all of which should be 0."""
        if self.client is not None:
            self.client.close()
        return [p.stop() for p in (*self.workers, *self.apis) if p.running]
