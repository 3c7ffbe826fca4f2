"""A caller is told how its job ended, by the real service."""

import pytest
from standardwebhooks.webhooks import Webhook

from servers.receiver import SECRET, Receiver


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_a_caller_is_told(service, receiver, sample_slide):
    receiver.answers.append(503)
    told = {"source": {"uri": sample_slide.as_uri()}, "callback_url": receiver.url}
    # Floors that no other test has: else the package is another test's.
    job = service.compress("told 7", profile="exact", dice_floor=0.32, **told)
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
        "/slides/told 7/compress", json={"dice_floor": 0.94, "callback_url": receiver.url}
    ).json()
    service.client.delete(f"/jobs/{cancelled['id']}")
    service.wait(lambda: len(receiver.received) == 3, 60)
    assert Webhook(SECRET).verify(receiver.received[2][2], receiver.received[2][1])["type"] == "job.cancelled"
    assert f"localhost:{receiver.port}" not in service.log_text()
    assert "told 7" not in str(receiver.received)
