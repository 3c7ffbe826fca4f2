"""Whoever asked for a job is told how it ended: once, or for a day."""

from datetime import datetime

import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook

from adaslide.adapters.db.tables import JobRow
from adaslide.adapters.webhooks.sender import HttpWebhookSender
from adaslide.domain.errors import QualityBelowFloor
from adaslide.domain.job import JobState
from adaslide.ports.queue import Message, Task
from adaslide.settings.webhooks import Webhooks
from adaslide_worker import notify
from adaslide_worker.notify import Notifier
from servers.receiver import Receiver

SECRET = "whsec_" + "A" * 32


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def told(bench, receiver):
    """`bench`, whose job's caller listens at ``receiver``."""
    settings = Webhooks(hosts="localhost", secret=SECRET, allow_private=True, timeout_s=2)
    notifier = Notifier(bench.database, HttpWebhookSender(settings), settings, "bench")
    bench.bodies[Task.NOTIFY] = notifier.notify
    with bench.database.write() as unit:
        unit._session.execute(sa.update(JobRow).values(callback_url=receiver.url))
    return bench


def rest(bench):
    """Lets what is still waiting be done."""
    for _ in range(20):
        while bench.waiting_messages:
            bench.step()
        if bench.job.told:
            return
        bench.later()
    raise AssertionError("never told")


def attempts(bench):
    with bench.database.read() as unit:
        return [event.data for event in unit.jobs.events(bench.id) if event.kind == "webhook"]


def messages(receiver):
    return [Webhook(SECRET).verify(body, headers) for _, headers, body in receiver.received]


def test_success_is_told_with_ids_only(told, receiver):
    job = told.run()
    rest(told)
    (message,) = messages(receiver)
    assert (message["type"], message["data"]) == (
        "job.succeeded",
        {"job": job.id, "slide": job.slide_id, "state": "succeeded", "package": job.package_id},
    )
    assert abs(told.job.finished_at.timestamp() - _seconds(message["timestamp"])) < 5
    assert attempts(told) == [{"attempt": 1, "status": 204}]


def _seconds(text):
    return datetime.fromisoformat(text).timestamp()


def test_failure_and_cancellation_are_told(told, receiver):
    told.compute.errors["shard"].append(QualityBelowFloor("below"))
    told.run()
    rest(told)
    with told.database.write() as unit:
        unit.jobs.transition(told.id, JobState.QUEUED)
        unit.jobs.transition(told.id, JobState.CANCELLING)
        unit.send(Message(Task.SETTLE, (told.id,)))
    told.run()
    rest(told)
    assert [(m["type"], m["data"]["package"]) for m in messages(receiver)] == [
        ("job.failed", None),
        ("job.cancelled", None),
    ]
    ids = [headers["webhook-id"] for _, headers, _ in receiver.received]
    assert ids[0] != ids[1]


def test_a_receiver_that_fails_is_tried_again_under_the_same_id(told, receiver):
    receiver.answers.extend([500, 302, 429])
    told.run()
    rest(told)
    assert [a["status"] for a in attempts(told)] == [500, 302, 429, 204]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 1


def test_it_is_tried_again_later_each_time(told, receiver):
    receiver.answers.extend([500] * 12)
    told.run()
    rest(told)
    assert [a.get("delay") for a in attempts(told)] == [*[5.0 * 2**n for n in range(11)], 7200.0, None]


def test_a_receiver_that_wants_no_more_is_left_alone(told, receiver):
    receiver.answers.append(410)
    told.run()
    rest(told)
    assert attempts(told) == [{"attempt": 1, "status": 410, "given_up": True}]


def test_after_a_day_it_is_given_up_and_said(told, receiver, caplog, monkeypatch):
    receiver.answers.extend([500] * 9)
    told.run()
    monkeypatch.setattr(notify, "GIVE_UP_S", 0.0)
    rest(told)
    assert attempts(told)[-1] == {"attempt": len(receiver.received), "status": 500, "given_up": True}
    assert "could not be told" in caplog.text
    assert "localhost" not in caplog.text


def test_a_message_that_was_lost_is_sent_again(told, receiver):
    notify_caller = told.bodies[Task.NOTIFY]
    told.bodies[Task.NOTIFY] = lambda job_id: None  # its worker dies with it
    told.run()
    assert receiver.received == []
    told.bodies[Task.NOTIFY] = notify_caller
    rest(told)
    assert len(receiver.received) == 1


def test_a_message_that_came_twice_is_told_once(told, receiver):
    told.run()
    rest(told)
    told.bodies[Task.NOTIFY](told.id)
    assert len(receiver.received) == 1


def test_without_a_callback_nobody_is_told(bench):
    bench.run()
    assert Task.NOTIFY not in {message.task for message in bench.waiting_messages}
    assert "webhook" not in bench.kinds()
    assert bench.job.told
