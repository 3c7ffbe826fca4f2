"""Processes of the service, as `adaslide serve` and `adaslide worker` start them."""

import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress

import psutil
import pytest

from servers.process import free_ports

START_S = 90
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
    """``adaslide ARGUMENTS`` with ``settings`` (names without ADASLIDE_).

    It keeps its files in the folder ``data`` and logs into the file ``log``; its metrics are at
    ``metrics_url``.
    """

    def __init__(self, arguments, data, log, settings):
        self.data, self.log = data, log
        self._arguments, self._settings = arguments, settings
        (self._metrics_port,) = free_ports(1)
        self.process = None
        self.start()

    @property
    def metrics_url(self):
        return f"http://127.0.0.1:{self._metrics_port}"

    def start(self, skew_s=0, **settings):
        """Starts it, again if it has ended: for this time with ``settings`` on top and its clock wrong."""
        given = {"DATA_DIR": self.data, "METRICS__PORT": self._metrics_port} | self._settings | settings
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ADASLIDE_")}
        environment |= {f"ADASLIDE_{k}": str(v) for k, v in given.items()}
        command = ["adaslide", *self._arguments]
        main = f"import sys; from adaslide.cli import main; sys.argv = {command}; main()"
        main = (SKEWED.format(seconds=skew_s) if skew_s else "") + main
        self._said = ""
        if self.process is not None:
            self.process.stdout.close()
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", main], env=environment, stdout=subprocess.PIPE, stderr=file, text=True
            )

    def first_line(self):
        """What it says once it works."""
        if not self._said:
            lines = queue.Queue()
            threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
            with suppress(queue.Empty):
                self._said = lines.get(timeout=START_S).strip()
        if not self._said:
            pytest.fail(f"the process did not start:\n{self.log.read_text()}")
        return self._said

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

    def stop(self):
        """Asks it to stop; returns its exit status."""
        self.process.terminate()
        return self.ended()

    def ended(self):
        """Its exit status, when it was asked to stop."""
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()


class Api(Process):
    """`adaslide serve`; started again it listens where it did."""

    def __init__(self, data, log, settings):
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        super().__init__(["serve", "--port", str(port)], data, log, settings)

    def first_line(self):
        line = super().first_line()
        assert line.endswith(f" {self.url}/")
        return line


class Worker(Process):
    """`adaslide worker`."""

    def __init__(self, data, log, settings):
        super().__init__(["worker"], data, log, settings)
