"""Readiness: every part can fail, alone, and a part that hangs holds nobody."""

import threading
import time

import pytest

from adaslide import probes
from adaslide.adapters.objects.filesystem import FilesystemStore
from adaslide.adapters.objects.memory import MemoryStore
from adaslide.adapters.queue.celery_queue import create_celery
from adaslide.domain.errors import AdaSlideError, BrokerUnavailable, ModelError, StoreUnavailable, Unavailable
from adaslide.observability.readiness import Outcome, Probe, Readiness, canary_probe
from adaslide.settings import load_settings


def fail():
    raise RuntimeError("Doe^Jane")


def test_every_part_has_its_own_outcome(caplog):
    readiness = Readiness([Probe("a", lambda: None), Probe("b", fail), Probe("c", lambda: None)])
    assert readiness.check() == {"a": Outcome.OK, "b": Outcome.FAILED, "c": Outcome.OK}
    assert readiness.check(exclude=["b"]) == {"a": Outcome.OK, "c": Outcome.OK}
    assert "RuntimeError" in caplog.text
    assert "Doe" not in caplog.text


def test_a_part_that_hangs_is_asked_once():
    released, asked = threading.Event(), []

    def hang():
        asked.append(1)
        released.wait(20)

    readiness = Readiness([Probe("a", hang, 0.05), Probe("b", lambda: None)])
    started = time.monotonic()
    for _ in range(3):
        assert readiness.check() == {"a": Outcome.TIMEOUT, "b": Outcome.OK}
    assert time.monotonic() - started < 5
    assert len(asked) == 1
    released.set()
    end = time.monotonic() + 10
    while readiness.check()["a"] is not Outcome.OK:
        assert time.monotonic() < end


def test_a_success_may_hold_but_a_failure_does_not():
    asked = []

    def second_time_lucky():
        asked.append(1)
        if len(asked) == 1:
            raise Unavailable("not yet")

    readiness = Readiness([Probe("a", second_time_lucky, once=True)])
    assert [readiness.check()["a"] for _ in range(4)] == [Outcome.FAILED, *[Outcome.OK] * 3]
    assert len(asked) == 2


def test_no_worker_lately():
    for age, fine in ((0.0, True), (29.0, True), (31.0, False), (None, False)):
        probe = canary_probe(lambda age=age: age, 30.0)
        if fine:
            probe.check()
        else:
            with pytest.raises(Unavailable):
                probe.check()


@pytest.mark.parametrize("make", [MemoryStore, None])
def test_a_store_that_works(make, tmp_path):
    store = make() if make else FilesystemStore(tmp_path)
    probe = probes.store_probe(store)
    probe.check()
    probe.check()
    assert dict(store.list()) == {probes.STORE_KEY: len(probes.STORE_BYTES)}


def test_a_store_that_does_not_keep_what_it_is_given():
    class Forgetful(MemoryStore):
        def put(self, key, data): ...

    with pytest.raises(StoreUnavailable):
        probes.store_probe(Forgetful()).check()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "health").write_bytes(b"a file where a folder must be")
    with pytest.raises(AdaSlideError):
        probes.store_probe(FilesystemStore(tmp_path)).check()


def test_a_broker_that_is_there_and_one_that_is_not():
    probes.broker_probe(create_celery(load_settings())).check()
    gone = load_settings(broker={"url": "redis://:secret@127.0.0.1:1/0"})
    with pytest.raises(BrokerUnavailable) as caught:
        probes.broker_probe(create_celery(gone)).check()
    assert "secret" not in str(caught.value)


def test_the_weights_of_this_build_are_whole():
    probes.weights_probe().check()
    probes.golden_probe().check()


def test_weights_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("ADASLIDE_WEIGHTS", str(tmp_path))
    for probe in (probes.weights_probe(), probes.golden_probe()):
        with pytest.raises(ModelError):
            probe.check()
    (tmp_path / "manifest.toml").write_text("[broken")
    with pytest.raises(ModelError):
        probes.weights_probe().check()
