"""Tells whoever asked for a job how it ended: once it is received, or for a day."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from adaslide.domain.errors import NotFound
from adaslide.domain.job import JobKind, JobState
from adaslide.ports.jobs import Database, JobEvent, JobRecord, UnitOfWork
from adaslide.ports.queue import Message, Task
from adaslide.ports.webhooks import WebhookSender
from adaslide.settings.webhooks import Webhooks

logger = logging.getLogger(__name__)

WEBHOOK = "webhook"
"""The kind of event that tells of an attempt."""
FIRST_DELAY_S, LONGEST_DELAY_S = 5.0, 7200.0
GIVE_UP_S = 86_400.0
LEASE_MARGIN_S = 15.0


class Notifier:
    """The body of `Task.NOTIFY`. ``holder`` is the name under which this process holds leases."""

    def __init__(self, database: Database, sender: WebhookSender, settings: Webhooks, holder: str) -> None:
        self._database = database
        self._sender = sender
        self._lease_s = settings.timeout_s + LEASE_MARGIN_S
        self._holder = holder

    def notify(self, job_id: str) -> None:
        """One attempt, unless nothing is to be told or somebody else is at it."""
        name = f"notify/{job_id}"
        with self._database.write() as unit:
            try:
                job = unit.jobs.get(job_id)
            except NotFound:
                return
            if job.told or job.callback_url is None or not job.state.terminal:
                return
            token = unit.work.claim(name, self._holder, self._lease_s)
            if token is None:
                return
            end, attempts = _end_of(unit, job_id)
        now = datetime.now(UTC)
        body = json.dumps(message_of(job, end)).encode()
        delivery = self._sender.send(job.callback_url, f"{job.id}-{end.id}", now, body)
        over = delivery.delivered or delivery.unwanted or (now - end.at).total_seconds() >= GIVE_UP_S
        delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**attempts)
        told: dict[str, Any] = {"attempt": attempts + 1, "status": delivery.status, "error": delivery.error}
        if not over:
            told["delay"] = delay
        elif not delivery.delivered:
            told["given_up"] = True
            logger.warning("job %s: its caller could not be told", job_id)
        with self._database.write() as unit:
            unit.work.release(name, token)
            unit.jobs.log(job_id, WEBHOOK, {key: value for key, value in told.items() if value is not None})
            if over:
                unit.jobs.mark_told(job_id)
            else:
                unit.send(Message(Task.NOTIFY, (job_id,), delay=delay))


def message_of(job: JobRecord, end: JobEvent) -> dict[str, object]:
    """What is told: ids only."""
    state = JobState(end.data["state"])
    made = job.package_id if job.kind is JobKind.COMPRESS else job.restoration.package
    package = made if state is JobState.SUCCEEDED else None
    data = {"job": job.id, "slide": job.slide_id, "state": state.value, "package": package}
    return {"type": f"job.{state.value}", "timestamp": end.at.isoformat(), "data": data}


def _end_of(unit: UnitOfWork, job_id: str) -> tuple[JobEvent, int]:
    """The job's end, and how many attempts were made to tell it."""
    end, attempts, after = None, 0, 0
    while found := unit.jobs.events(job_id, after):
        for event in found:
            if event.kind == "state":
                end, attempts = event, 0
            elif event.kind == WEBHOOK:
                attempts += 1
        after = found[-1].id
    assert end is not None, "a job begins with an event"
    return end, attempts
