"""Uploads by tus: cut in the middle, taken up at another API process, registered like any other upload."""

import base64
import socket
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import pytest

from adaslide.adapters.slide_files import growing, parts
from adaslide.domain.access import Role
from adaslide.settings import load_settings
from adaslide_api.main import create_app
from adaslide_worker.wiring import build_reconciler
from integration.security.secured import served

pytest_plugins = ["integration.security.conftest"]

STEP = 5 * 2**20
TUS = {"Tus-Resumable": "1.0.0"}
BYTES = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", STEP)
    monkeypatch.setattr(growing, "STEP_BYTES", STEP)


@pytest.fixture
def folder_settings(tmp_path):
    return lambda _name: {"data_dir": tmp_path / "data"}


@pytest.fixture
def cluster_settings(request, tmp_path, s3, postgres):
    store = s3.settings(s3.fresh_bucket())
    url = postgres.fresh_database()
    return lambda name: {"data_dir": tmp_path / name, "database": {"url": url}, "store": store}


@pytest.fixture(params=["folder", "cluster"])
def start(request):
    """Starts an API process's app, on what the others are on: (app, client)."""
    given = request.getfixturevalue(f"{request.param}_settings")
    with ExitStack() as stack:

        def start(name="a", **more):
            app = create_app(load_settings(broker={"queue": "uploads"}, **given(name), **more), worker=False)
            return app, stack.enter_context(served(app))

        yield start


def create(client, length, name="Jane Doe.svs", headers=TUS):
    metadata = f"filename {base64.b64encode(name.encode()).decode()},other"
    given = {"Upload-Length": str(length), "Upload-Metadata": metadata}
    asked = datetime.now(UTC).replace(microsecond=0)  # the header counts whole seconds
    answer = client.post("/uploads", headers=headers | given)
    assert answer.status_code == 201, answer.text
    assert parsedate_to_datetime(answer.headers["upload-expires"]) > asked
    return answer.headers["location"]


def offset(client, upload, headers=TUS):
    answer = client.head(upload, headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    return int(answer.headers["upload-offset"])


def send(client, upload, at, data, headers=BYTES):
    return client.patch(upload, headers=headers | {"Upload-Offset": str(at)}, content=data)


@contextmanager
def sending(client, upload, at, announced, data):
    """The connection of a PATCH of ``announced`` bytes of which only ``data`` was sent."""
    url = httpx.URL(str(client.base_url))
    headers = {
        **BYTES,
        "Host": f"{url.host}:{url.port}",
        "Upload-Offset": at,
        "Content-Length": announced,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall(f"PATCH {upload} HTTP/1.1\r\n{head}\r\n".encode() + data)
        yield connection


def cut(client, upload, at, announced, data):
    """Breaks the connection when ``data`` was read; what was not read by then is lost with it."""
    for held_s in (0.3, 3, 10):
        with sending(client, upload, at, announced, data):
            time.sleep(held_s)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            if offset(client, upload) == at + len(data):
                return
            time.sleep(0.05)
    raise AssertionError("what had arrived was not kept")


def test_an_upload_goes_on_at_another_process_where_its_connection_broke(start, sample_slide):
    (_, one), (_, two) = start("one"), start("two")
    # Beyond a slide's end readers look at nothing: the sample, long enough for several parts.
    content = sample_slide.read_bytes() + bytes(2 * STEP)
    upload = create(one, len(content))
    cut(one, upload, 0, len(content), content[: STEP + 1000])
    assert offset(two, upload) == STEP + 1000
    cut(two, upload, STEP + 1000, len(content) - STEP - 1000, content[STEP + 1000 : STEP + 1003])
    at = offset(one, upload)
    answer = send(one, upload, at, content[at:])
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(content)))
    registered = two.put("/slides/case-7", json={"uri": f"upload:{upload.rpartition('/')[2]}"})
    assert registered.status_code == 201, registered.text
    multipart = one.put("/slides/case-7", files={"file": ("x.svs", content)})
    assert multipart.status_code == 200
    assert multipart.json()["sha256"] == registered.json()["sha256"]
    assert registered.json()["id"] == multipart.json()["id"]


@pytest.fixture
def service(start):
    return start()


def complete(client, content):
    upload = create(client, len(content))
    assert send(client, upload, 0, content).status_code == 204
    return upload, {"uri": f"upload:{upload.rpartition('/')[2]}"}


def test_a_registration_asked_again_is_the_same(service, sample_slide):
    app, client = service
    upload, source = complete(client, sample_slide.read_bytes())
    first = client.post("/slides", json=source)
    assert (first.status_code, first.json()["facts"]["width"]) == (201, 2220)
    assert client.post("/slides", json=source).json()["id"] == first.json()["id"]
    assert client.put("/slides/other", json=source).status_code == 409
    assert client.delete(upload, headers=TUS).status_code == 409
    assert send(client, upload, sample_slide.stat().st_size, b"").status_code == 204
    with app.state.services.backend.database.read() as unit:
        slide = unit.slides.get(first.json()["id"])
    with app.state.services.backend.workspace.slides.local(slide) as path:
        assert path.read_bytes() == sample_slide.read_bytes()
    job = client.post(f"/slides/{slide.id}/compress")
    assert job.status_code == 202


def test_the_slide_that_has_the_name_already_keeps_its_file(service, sample_slide):
    app, client = service
    content = sample_slide.read_bytes()
    ids = [client.put("/slides/case", json=complete(client, content)[1]) for _ in range(2)]
    assert [answer.status_code for answer in ids] == [201, 200]
    assert len({answer.json()["id"] for answer in ids}) == 1
    with app.state.services.backend.database.read() as unit:
        slide = unit.slides.find("case")
    with app.state.services.backend.workspace.slides.local(slide) as path:
        assert path.read_bytes() == content
    other = client.put("/slides/case", json=complete(client, content + b"more")[1])
    assert other.status_code == 409


def test_what_is_no_slide_is_refused(service):
    _, client = service
    _, source = complete(client, b"no slide at all")
    assert client.post("/slides", json=source).status_code == 415
    upload = create(client, 100)
    assert send(client, upload, 0, b"half").status_code == 204
    answer = client.post("/slides", json={"uri": f"upload:{upload.rpartition('/')[2]}"})
    assert (answer.status_code, answer.json()["detail"]) == (409, "the upload has 4 of 100 bytes")
    for made_up in ("upload:", "upload:../x", "upload:\0", "upload:01k2q7m3c8v5x0r9t4y6w1z2ab"):
        assert client.post("/slides", json={"uri": made_up}).status_code == 404


def sweep(app):
    build_reconciler(app.state.services.backend, "sweeper").look()


def bytes_left(app, upload):
    backend = app.state.services.backend
    upload_id = upload.rpartition("/")[2]
    return [key for key, _ in backend.workspace.store.list() if upload_id in key]


def test_an_upload_that_was_given_up_is_removed(service):
    app, client = service
    upload = create(client, 100)
    send(client, upload, 0, b"half")
    assert bytes_left(app, upload)
    assert client.delete(upload, headers=TUS).status_code == 204
    assert client.head(upload, headers=TUS).status_code == 404
    assert send(client, upload, 4, b"more").status_code == 404
    assert client.delete(upload, headers=TUS).status_code == 404
    sweep(app)
    assert bytes_left(app, upload) == []


def test_an_abandoned_upload_expires(start):
    app, client = start(uploads={"expire_s": 1.0})
    kept = start("kept", uploads={"expire_s": 3600})[1]
    upload, other = create(client, 100), create(kept, 100)
    send(client, upload, 0, b"half")
    send(kept, other, 0, b"half")
    time.sleep(1.1)
    assert client.head(upload, headers=TUS).status_code == 404
    sweep(app)
    assert bytes_left(app, upload) == []
    assert offset(client, other) == 4


class TestProtocol:
    @pytest.fixture
    def client(self, tmp_path):
        given = load_settings(data_dir=tmp_path / "data", limits={"upload_bytes": 1000},
                              uploads={"stalled_s": 0.3, "at_once": 1})  # fmt: skip
        with served(create_app(given, worker=False)) as client:
            yield client

    def test_what_is_spoken_is_told(self, client):
        answer = client.options("/uploads")
        assert answer.status_code == 204
        told = {name: value for name, value in answer.headers.items() if name.startswith("tus-")}
        assert told == {
            "tus-resumable": "1.0.0",
            "tus-version": "1.0.0",
            "tus-extension": "creation,termination,expiration",
            "tus-max-size": "1000",
        }

    def test_another_version_is_not_spoken(self, client):
        upload = create(client, 10)
        for version in ({}, {"Tus-Resumable": "0.2.2"}):
            for method, url in (
                ("POST", "/uploads"),
                ("PATCH", upload),
                ("DELETE", upload),
                ("HEAD", upload),
            ):
                answer = client.request(method, url, headers=version)
                assert answer.status_code == 412
                assert (answer.headers["tus-version"], answer.headers["tus-resumable"]) == ("1.0.0", "1.0.0")

    def test_the_offset_must_be_where_it_stands(self, client):
        upload = create(client, 10)
        assert send(client, upload, 0, b"12345").headers["upload-offset"] == "5"
        for at in (0, 4, 6):
            assert send(client, upload, at, b"x").status_code == 409
        assert client.patch(upload, headers=BYTES, content=b"x").status_code == 422
        assert offset(client, upload) == 5

    def test_other_bodies_are_refused(self, client):
        upload = create(client, 10)
        answer = send(client, upload, 0, b"x", headers=TUS | {"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")

    def test_no_byte_beyond_the_end(self, client):
        upload = create(client, 10)
        assert send(client, upload, 0, b"x" * 11).status_code == 413
        assert offset(client, upload) == 0

    @pytest.mark.parametrize(("length", "status"), [("1001", 413), ("0", 422), ("-1", 422), ("x", 422)])
    def test_lengths_that_are_refused(self, client, length, status):
        assert client.post("/uploads", headers=TUS | {"Upload-Length": length}).status_code == status
        assert client.post("/uploads", headers=TUS).status_code == 422

    @pytest.mark.parametrize("metadata", ["filename %%%", "filename a"])
    def test_metadata_that_is_none(self, client, metadata):
        headers = TUS | {"Upload-Length": "1", "Upload-Metadata": metadata}
        assert client.post("/uploads", headers=headers).status_code == 422

    def test_a_method_may_be_overridden_by_post_alone(self, client):
        upload = create(client, 10)
        override = BYTES | {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0"}
        assert client.post(upload, headers=override, content=b"123").status_code == 204
        assert client.get(upload, headers=override).status_code == 405
        assert client.post("/slides", headers=TUS | {"X-HTTP-Method-Override": "PATCH"}).status_code == 422
        assert offset(client, upload) == 3

    def test_a_page_of_another_site_may_not_send(self, client):
        upload = create(client, 10)
        for headers in (BYTES, TUS | {"X-HTTP-Method-Override": "DELETE"}):
            method = "PATCH" if headers is BYTES else "POST"
            answer = client.request(method, upload, headers=headers | {"Origin": "https://evil.example"})
            assert answer.status_code == 403

    def test_a_sender_that_falls_silent_makes_room(self, client):
        upload = create(client, 10)
        with sending(client, upload, 0, 10, b"123") as connection:
            connection.settimeout(30)
            assert connection.recv(12) == b"HTTP/1.1 503"
        assert offset(client, upload) == 3
        assert send(client, upload, 3, b"4567890").status_code == 204

    def test_only_so_many_are_received_at_once(self, client):
        first, second = create(client, 10), create(client, 10)
        statuses = []

        def slowly():
            yield b"123"
            with httpx.Client(base_url=client.base_url) as other:
                statuses.append(send(other, second, 0, b"x").status_code)
            yield b"4567890"

        headers = BYTES | {"Upload-Offset": "0", "Content-Length": "10"}
        assert client.patch(first, headers=headers, content=slowly()).status_code == 204
        assert statuses == [503]
        assert send(client, second, 0, b"x").status_code == 204


def test_names_and_paths_stay_out_of_the_answers_and_the_store(service):
    app, client = service
    upload = create(client, 10, name="/archive/Doe^Jane.ndpi")
    assert [key.rpartition("/")[2] for key in bytes_left(app, upload)] in (["source.ndpi"], [])
    assert "Jane" not in str(client.head(upload, headers=TUS).headers)


class TestUsers:
    @pytest.fixture
    def secured(self, provider, tmp_path):
        from integration.security.secured import AUDIENCE, ISSUER, TOKEN_KEYS, Secured

        oidc = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": provider.url}
        auth = {"mode": "required", "oidc": oidc, "token_key": ",".join(TOKEN_KEYS)}
        app = create_app(load_settings(data_dir=tmp_path / "data", auth=auth), worker=False)
        with served(app) as client:
            yield Secured(app, client, provider)

    def test_another_tenant_finds_nothing(self, secured, sample_slide):
        own, other = (secured.bearer(Role.INTEGRATOR, tenant=name) for name in ("north", "south"))
        upload = create(secured.client, 10, headers=TUS | own)
        for method in ("HEAD", "DELETE"):
            assert secured.client.request(method, upload, headers=TUS | other).status_code == 404
        assert send(secured.client, upload, 0, b"x", headers=BYTES | other).status_code == 404
        source = {"uri": f"upload:{upload.rpartition('/')[2]}"}
        assert secured.client.post("/slides", json=source, headers=other).status_code == 404
        assert offset(secured.client, upload, headers=TUS | own) == 0

    def test_uploads_are_recorded_without_names(self, secured):
        own = secured.bearer(Role.INTEGRATOR)
        upload = create(secured.client, 10, headers=TUS | own)
        for at in (0, 1):
            send(secured.client, upload, at, b"x", headers=BYTES | own)
        secured.client.delete(upload, headers=TUS | own)
        ids = {"upload": upload.rpartition("/")[2]}
        found = [(record.entry.action, dict(record.entry.objects)) for record in secured.audit()]
        assert found == [(f"upload.{action}", ids) for action in ("create", "receive", "remove")]
        assert "Jane" not in str(secured.audit())
