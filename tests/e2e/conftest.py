"""The real service in a process of its own, as `adaslide serve` starts it."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest

START_S, JOB_S = 60, 180
SERVE = "import sys; from adaslide.cli import main; sys.argv = ['adaslide', 'serve', '--port', '0']; main()"
TERMINAL = {"succeeded", "failed", "cancelled"}


class Service:
    """`adaslide serve` on a free port and ``data``; ``client`` talks to it."""

    def __init__(self, data, **settings):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ADASLIDE_")}
        environment |= {"ADASLIDE_DATA_DIR": str(data)} | {
            f"ADASLIDE_{k}": str(v) for k, v in settings.items()
        }
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.client = httpx.Client(timeout=60)

    def ready(self):
        """Waits until it can work."""
        self.client.base_url = self._listening()
        self.wait(lambda: self.client.get("/readyz").status_code == 200, START_S)

    def _listening(self):
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=START_S)
        except queue.Empty:
            line = ""
        if "listens at" not in line:
            pytest.fail(f"the service did not start:\n{self.log.read_text()}")
        return line.split()[-1]

    def wait(self, done, seconds=JOB_S):
        """Polls ``done`` until it gives something true, which is returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := done():
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        pytest.fail(f"waited {seconds} s in vain:\n{self.log.read_text()}")

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

    def kill(self):
        """As a power cut would; returns the processes that it had started."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        self._close()
        return children

    def stop(self, signal_number=signal.SIGTERM):
        """Asks it to stop; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._close()

    def _close(self):
        self.client.close()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def start_service():
    """Starts services and makes sure that none is left behind."""
    started = []

    def start(data, **settings):
        service = Service(data, **settings)
        started.append(service)
        service.ready()
        return service

    yield start
    for service in started:
        if service.process.poll() is None:
            service.stop()


@pytest.fixture(scope="session")
def service(start_service, tmp_path_factory, sample_slide):
    """One service for all tests that leave others alone. May read slides beside the sample."""
    data = tmp_path_factory.mktemp("service") / "data"
    return start_service(data, ALLOWED_ROOTS=sample_slide.parent)


@pytest.fixture(scope="session")
def archived(service, sample_slide):
    """The sample as the slide ``sample``, compressed with the default profile: its finished job."""
    service.client.put("/slides/sample", json={"uri": sample_slide.as_uri()}).raise_for_status()
    job = service.compress("sample")
    assert job["state"] == "succeeded", job
    return job
