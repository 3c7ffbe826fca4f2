"""Following a job's events, over connections that break."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from adaslide.client.transport import Transport
from adaslide.domain.errors import Unavailable
from adaslide.domain.job import JobState

RECONNECT_S = 1.0
READ_TIMEOUT_S = 30.0
"""The service sends a ping every 15 seconds."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; ``id`` None is no place to come back to."""

    id: str | None
    kind: str
    data: dict[str, Any]


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Events of a stream; one that is cut short is none."""
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if "data" in fields:
                yield Event(fields.get("id"), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


def follow(transport: Transport, job_id: str, until: float) -> Iterator[Event]:
    """The job's events from its beginning to its end, each once, until ``until`` (`time.monotonic`).

    Connects again where one left when a connection breaks. Raises what the service says of the job, and
    `TimeoutError`.
    """
    last: str | None = None
    ended = False
    while not ended:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the job has not ended in time")
        headers = {"Last-Event-ID": last} if last else {}
        timeout = httpx.Timeout(transport.http.timeout.connect, read=min(left, READ_TIMEOUT_S))
        try:
            with transport.stream(
                "GET", f"/jobs/{job_id}/events", headers=headers, timeout=timeout
            ) as response:
                for event in parse_events(response.iter_lines()):
                    last = event.id or last
                    if event.kind == "state":
                        ended = JobState(event.data["state"]).terminal
                    yield event
                    if time.monotonic() > until:
                        break
        except Unavailable:
            if not ended:
                time.sleep(min(RECONNECT_S, max(0.0, until - time.monotonic())))


Progress = Callable[[int, int], None]
"""Is told (patches done, patches in all)."""
