"""A server in a process of its own: it can be stopped, killed, started again, and is never left behind."""

import signal
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from random import SystemRandom

import pytest

START_S, STOP_S = 60, 20
GRPC_OFFSET = 10_000
"""SeaweedFS listens for gRPC this far above each of its ports."""
_LOWEST, _HIGHEST = 11_000, 22_000
"""So that neither a port nor its gRPC port is one that the system hands out to clients."""


def free_ports(count):
    """``count`` ports in a row that are free, and so are those ``GRPC_OFFSET`` above them."""
    for _ in range(200):
        first = SystemRandom().randrange(_LOWEST, _HIGHEST - count)
        ports = list(range(first, first + count))
        if all(_is_free(port) and _is_free(port + GRPC_OFFSET) for port in ports):
            return ports
    raise RuntimeError("this machine has no free ports")


def _is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class ServerProcess:
    """``command`` as a process; ``ready()`` tells whether it answers. Its output goes to ``log``."""

    def __init__(self, command, log, ready, *, stop_signal=signal.SIGTERM, **popen):
        self._command, self._log, self._ready = [str(part) for part in command], log, ready
        self._stop_signal, self._popen = stop_signal, popen
        self._process = self._leash = None

    @property
    def pid(self):
        """Of the running server, else None."""
        return self._process.pid if self.running else None

    @property
    def running(self):
        return self._process is not None and self._process.poll() is None

    def start(self):
        """Returns once the server answers; it may run already."""
        if self.running:
            return
        self._clear()
        with self._log.open("ab") as log:
            # Of a session of its own, so that Ctrl-C reaches only the tests, which then stop it.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._popen,
            )
        # The pipe closes when the tests end, in whatever way: then the server ends as well.
        self._leash = subprocess.Popen(
            ["sh", "-c", 'read -r _; kill -9 "$1"', "leash", str(self.pid or self._process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + START_S
        # Both: another's server may have taken the port meanwhile.
        while not (self._answers() and self.running):
            if not self.running or time.monotonic() > end:
                self.kill()
                raise RuntimeError(
                    f"the server did not start:\n{self._log.read_text(errors='replace')[-4000:]}"
                )
            time.sleep(0.05)

    def stop(self):
        """Ends it in order; kills it when that takes too long."""
        if self.running:
            self._process.send_signal(self._stop_signal)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self.kill()

    def kill(self):
        """Ends it as a power cut would."""
        if self.running:
            self._process.kill()
        self._clear()

    def restart(self):
        """The same server again: same data, same address."""
        self.stop()
        self.start()

    def _answers(self):
        # Whatever a client raises while nobody listens.
        with suppress(Exception):
            return self._ready()
        return False

    def _clear(self):
        # The leash first: once its process is gone, the number may be another's.
        if self._leash is not None:
            self._leash.kill()
            self._leash.wait()
            self._leash.stdin.close()
            self._leash = None
        if self._process is not None:
            self._process.wait()
            self._process = None


class Server:
    """What each server's own class adds its address to. Without a process it is one from the environment."""

    def __init__(self, process=None):
        self._own = process

    @property
    def pid(self):
        return self._process.pid

    @property
    def running(self):
        return self._process.running

    def start(self):
        self._process.start()

    def stop(self):
        self._process.stop()

    def kill(self):
        self._process.kill()

    def restart(self):
        self._process.restart()

    @property
    def _process(self):
        if self._own is None:
            pytest.skip("this server came from the environment: it is not the tests' to stop")
        return self._own


def started(process, server, *, end=ServerProcess.stop):
    """Yields ``server`` while ``process`` runs: the body of a fixture."""
    with ExitStack() as stack:
        stack.callback(end, process)
        process.start()
        yield server
