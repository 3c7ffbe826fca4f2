"""The application without its worker: forms, guards and limits. Jobs stay queued here."""

import socket
import threading

import httpx
import pytest
import uvicorn

from adaslide.domain.errors import (
    ChecksumMismatch,
    Conflict,
    MissingMpp,
    NotFound,
    SlideCorrupt,
    StoreUnavailable,
)
from adaslide.settings import load_settings
from adaslide_api.errors import status_of
from adaslide_api.main import create_app


@pytest.fixture
def client(tmp_path, sample_slide):
    settings = load_settings(
        data_dir=tmp_path / "data",
        allowed_roots=(sample_slide.parent,),
        limits={"upload_bytes": 3_000_000},
        broker={"queue": "unit-tests"},
    )
    app = create_app(settings, worker=False)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join()


def problem(answer, status, code):
    assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def test_uploads_are_streamed_into_their_own_folder(client, tmp_path, sample_slide):
    data = sample_slide.read_bytes()
    fields = {"file": ("Doe^Jane.SVS", data), "comment": (None, "x" * 100_000)}
    answer = client.post("/slides", files=fields)
    assert answer.status_code == 201, answer.text
    slide = answer.json()
    assert answer.headers["location"] == slide["links"]["self"]
    assert (tmp_path / "data" / "slides" / slide["id"] / "source.svs").read_bytes() == data
    assert (slide["facts"]["width"], slide["facts"]["height"], slide["facts"]["mpp"]) == (2220, 2967, 0.499)
    assert "Doe" not in client.get(slide["links"]["self"]).text
    assert [s["id"] for s in client.get("/slides").json()["items"]] == [slide["id"]]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"files": {"file": ("a.svs", b"text")}}, 415, "unsupported-format"),
        ({"files": {"file": ("a.svs", b"x" * 3_100_000)}}, 413, "slide-too-large"),
        ({"files": {"other": ("a.svs", b"text")}}, 422, "invalid-input"),
        ({"json": {"uri": "file:///etc/passwd"}}, 422, "invalid-input"),
        ({"json": {"url": "file:///x"}}, 422, "invalid-input"),
        ({"content": b"{"}, 422, "invalid-input"),
        ({"content": b"x" * 1_100_000}, 413, "slide-too-large"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "invalid-input"),
        (
            {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            422,
            "invalid-input",
        ),
    ],
)
def test_what_is_no_slide_leaves_nothing_behind(client, tmp_path, request_, status, code):
    problem(client.post("/slides", **request_), status, code)
    assert [*(tmp_path / "data" / "uploads").iterdir(), *(tmp_path / "data" / "slides").iterdir()] == []
    assert client.get("/slides").json() == {"items": [], "next": None}


def test_the_callers_name_leads_to_one_slide(client, sample_slide, tmp_path):
    source = {"uri": sample_slide.as_uri()}
    first = client.put("/slides/Case 7", json=source)
    again = client.put("/slides/Case 7", files={"file": ("x.svs", sample_slide.read_bytes())})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"] == client.get("/slides/Case 7").json()["id"]
    assert [*(tmp_path / "data" / "uploads").iterdir(), *(tmp_path / "data" / "slides").iterdir()] == []
    problem(client.put("/slides/x.dzi", json=source), 422, "invalid-input")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"profile": "nope"}, "profile-invalid"),
        ({"lambda": 2}, "profile-invalid"),
        ({"target_ratio": 0}, "profile-invalid"),
        ({"target_ratio": 5, "lambda": 0.1}, "profile-invalid"),
        ({"target_ratio": 5, "profile": "paper"}, "profile-invalid"),
        ({"target_ratio": "five"}, "invalid-input"),
        ({"dice_floor": 1.5}, "profile-invalid"),
        ({"mpp": 99}, "invalid-input"),
        ({"mpp": 5}, "invalid-input"),
        ({"mpp": 0.09, "profile": "paper"}, "invalid-input"),
        ({"quality": 9}, "invalid-input"),
        ({"protect": {"type": "Point", "coordinates": [1, 2]}}, "invalid-input"),
        ({"protect": []}, "invalid-input"),
        ({"protect": {"type": "Polygon", "coordinates": [[[1, 2], [3, 10**400], [5, 6]]]}}, "invalid-input"),
    ],
)
def test_requests_that_make_no_sense_make_no_job(client, sample_slide, body, code):
    client.put("/slides/s", json={"uri": sample_slide.as_uri()})
    problem(client.post("/slides/s/compress", json=body), 422, code)
    assert client.get("/jobs").json()["items"] == []


@pytest.mark.parametrize("profile", ["exact", "archive@1"])
def test_a_scale_that_a_net_does_not_know_is_none_of_a_profile_without(client, sample_slide, profile):
    client.put("/slides/s", json={"uri": sample_slide.as_uri()})
    assert client.post("/slides/s/compress", json={"mpp": 5, "profile": profile}).status_code == 202


def test_a_target_ratio_is_part_of_what_was_asked_for(client, sample_slide):
    client.put("/slides/s", json={"uri": sample_slide.as_uri()})
    headers = {"Idempotency-Key": "k"}
    aimed = client.post("/slides/s/compress", json={"target_ratio": 5.5}, headers=headers).json()
    plain = client.post("/slides/s/compress", json={}).json()
    assert (aimed["request"]["target_ratio"], plain["request"]["target_ratio"]) == (5.5, None)
    assert aimed["id"] != plain["id"]
    again = client.post("/slides/s/compress", json={"target_ratio": 5.5}, headers=headers)
    assert again.json()["id"] == aimed["id"]
    problem(client.post("/slides/s/compress", json={}, headers=headers), 409, "conflict")
    schema = client.get("/openapi.json").json()["components"]["schemas"]["CompressBody"]["properties"]
    assert {"type": "number"} in schema["target_ratio"]["anyOf"]


@pytest.mark.parametrize("wrapped", [lambda region: region, lambda region: [region]])
def test_protected_regions_are_part_of_the_request_and_come_back_as_a_number(client, sample_slide, wrapped):
    client.put("/slides/s", json={"uri": sample_slide.as_uri()})
    region = {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9]]]}
    region = {"type": "Feature", "properties": {"name": "DOE^JANE"}, "geometry": region}
    answer = client.post("/slides/s/compress", json={"protect": wrapped(region)})
    assert (answer.status_code, answer.json()["request"]["protect"]) == (202, {"outlines": 1})
    assert "DOE" not in answer.text
    plain = client.post("/slides/s/compress", json={}).json()
    assert plain["id"] != answer.json()["id"]
    assert plain["request"]["protect"] is None


def test_a_job_waits_and_can_be_cancelled(client, sample_slide):
    client.put("/slides/s", json={"uri": sample_slide.as_uri()})
    job = client.post("/slides/s/compress").json()
    assert (job["state"], job["request"]["profile"]) == ("queued", "archive@8")
    assert client.delete(f"/jobs/{job['id']}").json()["state"] == "cancelling"
    assert client.get(job["links"]["self"]).json()["state"] == "cancelling"


@pytest.mark.parametrize("path", ["/nope", "/slides/none", "/slides/none.dzi", "/jobs/none", "/static/none"])
def test_what_is_not_there(client, path):
    problem(client.get(path), 404, "not-found")


def test_a_method_that_is_not_there(client):
    answer = client.delete("/slides")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"]


def test_values_of_a_bad_request_are_not_repeated(client):
    body = problem(client.get("/slides?limit=Jane"), 422, "invalid-input")
    assert body["errors"][0]["where"] == ["query", "limit"]
    assert "Jane" not in str(body)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9", 200),
        ("localhost", 200),
        ("[::1]:9", 200),
        ("slides.example", 421),
        ("127.0.0.1.slides.example", 421),
        ("[", 421),
    ],
)
def test_host_names(client, host, status):
    assert client.get("/slides", headers={"Host": host}).status_code == status


def test_the_description_of_the_api_is_complete(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert {"/slides/{key}/compress", "/jobs/{job_id}/events", "/slides/{key}_files/{level}/{name}"} <= set(
        document["paths"]
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MissingMpp, 422),
        (SlideCorrupt, 422),
        (NotFound, 404),
        (Conflict, 409),
        (ChecksumMismatch, 500),
        (StoreUnavailable, 503),
    ],
)
def test_errors_have_the_status_of_their_nearest_ancestor(error, status):
    assert status_of(error("")) == status
