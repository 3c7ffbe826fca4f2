"""Whether a process can work: probes of its parts, each with its own patience.

An answer says which part failed, never how: the log has the type of the error, and nothing has its text.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock, Thread

from adaslide.domain.errors import Unavailable

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What came of a probe."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Probe:
    """One part. ``check`` raises when it does not work."""

    name: str
    check: Callable[[], object]
    timeout_s: float = 2.0
    once: bool = False
    """A success holds for the life of the process: for what is costly and cannot change."""


class Readiness:
    """Runs probes side by side. Safe for use by many threads."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._probes = tuple(probes)
        self._running: dict[str, Future[Outcome]] = {}
        self._lock = Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(probe.name for probe in self._probes)

    def check(self, exclude: Collection[str] = ()) -> dict[str, Outcome]:
        """The outcome of every probe not in ``exclude``, after the longest of their timeouts at most."""
        probes = [probe for probe in self._probes if probe.name not in exclude]
        started = time.monotonic()
        running = [(probe, self._started(probe)) for probe in probes]
        return {probe.name: self._await(probe, future, started) for probe, future in running}

    def _started(self, probe: Probe) -> "Future[Outcome]":
        # One run of a probe at a time: a part that hangs holds one thread, however often one asks.
        with self._lock:
            future = self._running.get(probe.name)
            keep = future is not None and (
                not future.done() or (probe.once and future.result() is Outcome.OK)
            )
            if future is None or not keep:
                future = self._running[probe.name] = Future()
                # A daemon: a process that is told to stop does not wait for a part that hangs.
                Thread(target=_run, args=(probe, future), name="adaslide-probe", daemon=True).start()
            return future

    @staticmethod
    def _await(probe: Probe, future: "Future[Outcome]", started: float) -> Outcome:
        try:
            return future.result(max(0.0, started + probe.timeout_s - time.monotonic()))
        except TimeoutError:
            logger.warning("not ready: %s did not answer within %g s", probe.name, probe.timeout_s)
            return Outcome.TIMEOUT


def _run(probe: Probe, future: "Future[Outcome]") -> None:
    try:
        probe.check()
    except Exception as error:  # whatever is broken there is the finding
        logger.warning("not ready: %s: %s", probe.name, type(error).__name__)
        future.set_result(Outcome.FAILED)
    else:
        future.set_result(Outcome.OK)


def canary_probe(age_s: Callable[[], float | None], limit_s: float, *, timeout_s: float = 2.0) -> Probe:
    """Fails unless a worker consumed a message within ``limit_s`` seconds; ``age_s`` says how long ago."""

    def check() -> None:
        age = age_s()
        if age is None or age > limit_s:
            raise Unavailable("no worker consumed a message lately")

    return Probe("workers", check, timeout_s)
