"""`/readyz` with each part broken in turn, and `/metrics`."""

import anyio
import httpx
import pytest

from adaslide.observability.readiness import Readiness, canary_probe
from adaslide.settings import load_settings
from adaslide_api.main import create_app

PARTS = {"database", "broker", "store", "weights", "golden"}


@pytest.fixture
def ask(tmp_path):
    """Asks a new service one thing: ``ask(path, prepare=..., worker=..., **settings)``."""

    def ask(path, prepare=lambda app: None, *, worker=False, **settings):
        app = create_app(load_settings(data_dir=tmp_path / "data", **settings), worker=worker)
        prepare(app)

        async def get():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.get(path)

        return anyio.run(get)

    return ask


def not_ready(answer, part):
    """Exactly ``part`` is broken, and the answer says no more than that."""
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["code"] == "unavailable"
    broken = {name: outcome for name, outcome in body["checks"].items() if outcome != "ok"}
    assert broken == {part: "failed"}, body
    return body


def test_all_parts_work(ask):
    answer = ask("/readyz")
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"status": "ok", "checks": dict.fromkeys(sorted(PARTS), "ok")}


def test_a_broken_database(ask, tmp_path):
    def break_it(app):
        app.state.services.backend.database.close()
        for file in (tmp_path / "data").glob("adaslide.sqlite*"):
            file.unlink()
        (tmp_path / "data" / "adaslide.sqlite").mkdir()

    body = not_ready(ask("/readyz?exclude=golden", break_it), "database")
    assert str(tmp_path) not in str(body)


def test_a_broker_that_is_gone(ask):
    body = not_ready(
        ask("/readyz?exclude=golden&exclude=workers", broker={"url": "redis://:secret@127.0.0.1:1/0"}),
        "broker",
    )
    assert "secret" not in str(body)


def test_a_store_that_cannot_be_written(ask, tmp_path):
    not_ready(
        ask("/readyz?exclude=golden", lambda _: (tmp_path / "data" / "health").write_bytes(b"")), "store"
    )


def test_weights_that_cannot_be_read(ask, monkeypatch, tmp_path):
    monkeypatch.setenv("ADASLIDE_WEIGHTS", str(tmp_path))
    not_ready(ask("/readyz?exclude=golden"), "weights")
    not_ready(ask("/readyz?exclude=weights"), "golden")


def test_a_worker_that_does_not_run(ask):
    not_ready(ask("/readyz?exclude=golden", worker=True), "workers")
    assert ask("/readyz?exclude=golden&exclude=workers", worker=True).status_code == 200


def test_no_worker_consumed_lately(ask):
    def watch(age):
        return lambda app: setattr(app.state, "readiness", Readiness([canary_probe(lambda: age, 30)]))

    not_ready(ask("/readyz", watch(31.0)), "workers")
    assert ask("/readyz", watch(29.0)).status_code == 200


def test_the_process_lives_whatever_is_broken(ask, tmp_path):
    answer = ask("/healthz", lambda _: (tmp_path / "data" / "health").write_bytes(b""), worker=True)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_metrics_of_two_services_do_not_meet(ask):
    lines = ask("/metrics", lambda app: app.state.metrics.patches(5)).text.splitlines()
    assert "adaslide_patches_total 5.0" in lines
    assert "adaslide_queue_age_seconds 0.0" in lines
    lines = ask("/metrics").text.splitlines()
    assert "adaslide_patches_total 0.0" in lines
