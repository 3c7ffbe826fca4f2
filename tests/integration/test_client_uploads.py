"""The client's uploads, through a link that breaks."""

import os
import socket
import threading
from contextlib import suppress

import pytest

from adaslide.adapters.slide_files import growing
from adaslide.client import Client
from adaslide.domain.errors import InputError, NotFound, SlideUnsupported, Unavailable
from adaslide.settings import load_settings
from adaslide_api.main import create_app
from integration.security.secured import served

STEP = 2**20


class Link:
    """A way to ``port`` that cuts each connection after so many bytes towards the service as ``cuts`` says,
    in turn; whoever comes after the last has no limit."""

    def __init__(self, port):
        self.cuts, self.sent, self._port = [], [], port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(caller,), daemon=True).start()

    def _carry(self, caller):
        limit, carried = (self.cuts.pop(0) if self.cuts else float("inf")), 0
        with caller, socket.create_connection(("127.0.0.1", self._port)) as service:
            back = threading.Thread(target=self._back, args=(service, caller), daemon=True)
            back.start()
            while carried < limit and (data := _received(caller)):
                carried += len(data)
                service.sendall(data)
            self.sent.append(carried)
            for end in (service, caller):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join()

    @staticmethod
    def _back(service, caller):
        while data := _received(service):
            try:
                caller.sendall(data)
            except OSError:
                return

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _received(end):
    try:
        return end.recv(2**16)
    except OSError:
        return b""


@pytest.fixture
def service(tmp_path, monkeypatch):
    monkeypatch.setattr(growing, "STEP_BYTES", STEP)
    app = create_app(load_settings(data_dir=tmp_path / "data"), worker=False)
    with served(app) as http:
        yield app, http


@pytest.fixture
def link(service):
    link = Link(service[1].base_url.port)
    yield link
    link.close()


@pytest.fixture
def client(link):
    with Client(link.url, attempts=3, timeout=30) as client:
        client._transport._sleep = lambda _seconds: None
        yield client


@pytest.fixture
def large(tmp_path, sample_slide):
    """The sample, made longer beyond its end, where readers look at nothing."""
    path = tmp_path / "Doe^Jane.svs"
    path.write_bytes(sample_slide.read_bytes() + os.urandom(6 * STEP))
    return path


def test_an_upload_goes_on_over_a_link_that_breaks(service, client, link, large):
    told, size = [], large.stat().st_size
    link.cuts = [2 * STEP + 5000, 3 * STEP, 1 * STEP]
    slide = client.upload(large, "case 7", on_progress=lambda kept, total: told.append((kept, total)))
    assert (slide.size, slide.alias) == ((2220, 2967), "case 7")
    kept = [done for done, total in told if total == size]
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0, size)
    # What was kept was not sent again: at most what a process holds in memory.
    assert sum(link.sent) < size + 4 * STEP
    assert client.register(large, "case 7").id == slide.id


def test_a_later_process_goes_on_with_an_upload(service, client, link, large):
    upload = client.begin_upload(large)
    link.cuts = [4 * STEP] + [0] * 50
    client._transport.http.close()
    with Client(link.url, attempts=1) as first, pytest.raises(Unavailable):
        first.upload(large, resume=upload)
    link.cuts = []
    told = []
    with Client(link.url) as second:
        slide = second.upload(large, resume=upload, on_progress=lambda kept, total: told.append(kept))
        assert told[0] >= 3 * STEP
        assert second.upload(large, resume=upload).id == slide.id


def test_a_link_that_never_works_is_given_up(client, link, large):
    upload = client.begin_upload(large)
    client._transport.http.close()
    link.cuts = [0] * 1000
    with Client(link.url, attempts=3) as other:
        other._transport._sleep = lambda _seconds: None
        with pytest.raises(Unavailable):
            other.upload(large, resume=upload)


def test_another_file_is_not_mixed_in(client, large, sample_slide):
    upload = client.begin_upload(large)
    with pytest.raises(InputError, match="another file"):
        client.upload(sample_slide, resume=upload)


def test_what_is_no_slide_is_not_left_there(service, client, tmp_path):
    (tmp_path / "x.svs").write_bytes(b"no slide")
    upload = client.begin_upload(tmp_path / "x.svs")
    with pytest.raises(SlideUnsupported):
        client.upload(tmp_path / "x.svs", resume=upload)
    with pytest.raises(NotFound):
        client.upload(tmp_path / "x.svs", resume=upload)
