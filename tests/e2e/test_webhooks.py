"""A caller is told how its job ended, by the real service."""

import pytest
from standardwebhooks.webhooks import Webhook

from servers.receiver import Receiver

SECRET = "whsec_" + "A" * 32


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_a_caller_is_told(start_service, receiver, sample_slide, tmp_path):
    service = start_service(
        tmp_path / "data",
        ALLOWED_ROOTS=sample_slide.parent,
        WEBHOOKS__HOSTS="localhost",
        WEBHOOKS__SECRET=SECRET,
        WEBHOOKS__ALLOW_PRIVATE="true",
    )
    receiver.answers.append(503)
    body = {"profile": "exact", "source": {"uri": sample_slide.as_uri()}, "callback_url": receiver.url}
    job = service.compress("case 7", **body)
    assert job["state"] == "succeeded"
    service.wait(lambda: len(receiver.received) == 2, 60)
    messages = [Webhook(SECRET).verify(body, headers) for _, headers, body in receiver.received]
    assert messages[0] == messages[1]
    assert messages[0]["type"] == "job.succeeded"
    assert messages[0]["data"] == {
        "job": job["id"],
        "slide": job["slide"],
        "state": "succeeded",
        "package": job["package"]["id"],
    }
    cancelled = service.client.post(
        "/slides/case 7/compress", json={"dice_floor": 0.9, "callback_url": receiver.url}
    ).json()
    service.client.delete(f"/jobs/{cancelled['id']}")
    service.wait(lambda: len(receiver.received) == 3, 60)
    assert Webhook(SECRET).verify(receiver.received[2][2], receiver.received[2][1])["type"] == "job.cancelled"
    assert "localhost:" not in service.log_text()
    assert "case 7" not in str(receiver.received)
