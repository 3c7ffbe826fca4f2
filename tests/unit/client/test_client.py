"""What the client makes of answers, over real sockets."""

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import adaslide.client
from adaslide.client import Client
from adaslide.client.follow import Event, follow, parse_events
from adaslide.client.problems import error_of
from adaslide.domain import errors
from adaslide.domain.job import JobState

PUBLIC = ["Client", "Job", "Package", "Result", "Slide"]
METHODS = [
    "begin_upload", "cancel", "close", "compress", "download", "job", "jobs", "package", "region", "register",
    "replay", "restore", "slide", "slides", "tile", "upload", "wait",
]  # fmt: skip


def test_exported_members():
    assert sorted(adaslide.client.__all__) == PUBLIC
    assert [name for name in sorted(vars(Client)) if not name.startswith("_")] == METHODS


class Script:
    """A server that answers ``answers`` in turn: (status, headers, body); None breaks the connection."""

    def __init__(self):
        self.answers, self.requests, self.bodies = deque(), [], []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                script.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                script.requests.append((self.command, self.path, dict(self.headers)))
                answer = script.answers.popleft()
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = _answer

            def log_message(self, *args): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def script():
    script = Script()
    yield script
    script.server.shutdown()
    script.server.server_close()


@pytest.fixture
def slept(monkeypatch):
    """Seconds that were waited, without waiting."""
    slept = []
    monkeypatch.setattr("adaslide.client.follow.time.sleep", slept.append)
    return slept


@pytest.fixture
def client(script, slept):
    with Client(script.url, "ads_key", attempts=3) as client:
        client._transport._sleep = slept.append
        yield client


PAGE = b'{"items": [], "next": null}'
BUSY = (503, {"Retry-After": "7"}, b"{}")


def test_a_busy_service_is_asked_again_when_it_says(client, script, slept):
    script.answers.extend([BUSY, (503, {}, b"{}"), (200, {}, PAGE)])
    assert list(client.jobs()) == []
    assert slept == [7.0, 1.0]
    assert {headers["X-Api-Key"] for _, _, headers in script.requests} == {"ads_key"}


def test_not_for_ever(client, script, slept):
    script.answers.extend([BUSY] * 3)
    with pytest.raises(errors.Unavailable):
        list(client.jobs())
    assert slept == [7.0, 7.0]


def test_a_long_wait_is_cut(client, script, slept):
    script.answers.extend([(503, {"Retry-After": "86400"}, b""), (200, {}, PAGE)])
    list(client.jobs())
    assert slept == [60.0]


def test_an_order_sent_again_is_the_same_order(client, script):
    script.answers.extend([None, BUSY, (404, {}, b"{}")])
    with pytest.raises(errors.NotFound):
        client.compress("case/7")
    keys = {headers["Idempotency-Key"] for _, _, headers in script.requests}
    assert len(keys) == 1
    assert [path for _, path, _ in script.requests] == ["/slides/case%2F7/compress"] * 3


def test_states_and_urgencies_may_be_texts(client, script):
    script.answers.extend([(200, {}, PAGE), (200, {}, PAGE), (404, {}, b"{}")])
    for state in ("succeeded", JobState.SUCCEEDED):
        assert list(client.jobs(state=state)) == []
    assert all("state=succeeded" in path for _, path, _ in script.requests)
    with pytest.raises(errors.NotFound):
        client.compress("case-7", urgency="stat")
    assert json.loads(script.bodies[-1])["urgency"] == "stat"


def test_a_target_ratio_is_sent_where_it_is_given(client, script):
    script.answers.extend([(404, {}, b"{}")] * 2)
    for options in ({}, {"target_ratio": 5.5}):
        with pytest.raises(errors.NotFound):
            client.compress("case-7", **options)
    plain, aimed = map(json.loads, script.bodies[-2:])
    assert "target_ratio" not in plain
    assert aimed["target_ratio"] == 5.5


def test_a_place_that_is_not_there_is_said_before_a_job_is_begun(client, script, tmp_path):
    with pytest.raises(errors.NotFound, match="no folder"):
        client.restore("case-7", str(tmp_path / "none" / "case-7.tif"))
    assert script.requests == []


def test_what_must_not_be_done_twice_is_not_sent_again(client, script):
    script.answers.append(None)
    with pytest.raises(errors.Unavailable):
        client.replay("x")
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (409, "held", errors.Held),
        (409, "of-a-newer-version", errors.Conflict),
        (422, "missing-mpp", errors.MissingMpp),
        (418, "teapot", errors.InputError),
        (504, "restore-timeout", errors.RestoreTimeout),
        (500, None, errors.AdaSlideError),
    ],
)
def test_problems_are_errors(status, code, kind):
    error = error_of(code, "why", status, more=1)
    assert (type(error), error.message) == (kind, "why")


def test_a_refusal_for_primary_points_to_the_exact_package():
    error = error_of("restored-not-for-primary", "no", 403, exact={"package": "p"})
    assert error.more["exact"] == {"package": "p"}


def test_an_answer_that_is_no_problem_document(client, script):
    script.answers.append((502, {}, b"<html>"))
    with pytest.raises(errors.AdaSlideError, match="502"):
        client.job("x")


def test_events_are_parsed_and_a_cut_one_is_none():
    lines = [": ping", "", "id: 4", "event: progress", 'data: {"done": 1}', "", "id: 5", 'data: {"do']
    assert list(parse_events(iter(lines))) == [Event("4", "progress", {"done": 1})]


STREAM = {"Content-Type": "text/event-stream"}
FIRST = (
    b'id: 1\nevent: state\ndata: {"state": "running"}\n\nevent: progress\ndata: {"done": 2, "total": 4}\n\n'
)
LAST = b'id: 2\nevent: state\ndata: {"state": "succeeded"}\n\n'


@pytest.mark.parametrize("cut", [{}, {"Content-Length": "999"}], ids=["ended", "broken"])
def test_a_stream_is_taken_up_where_it_was_left(client, script, cut):
    closing = {"Connection": "close"}
    script.answers.extend([None, (200, STREAM | cut | closing, FIRST), (200, STREAM | closing, LAST)])
    found = list(follow(client._transport, "x", time.monotonic() + 60))
    assert [(e.id, e.kind) for e in found] == [("1", "state"), (None, "progress"), ("2", "state")]
    assert [headers.get("Last-Event-ID") for _, _, headers in script.requests] == [None, None, "1"]


def test_waiting_has_an_end(client, script):
    script.answers.extend([(200, STREAM | {"Connection": "close"}, FIRST)] * 500)
    with pytest.raises(TimeoutError):
        list(follow(client._transport, "x", time.monotonic() + 0.3))
