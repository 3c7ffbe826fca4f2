"""A slide out of its package as one file: asked for over HTTP, made by a worker, fetched in parts."""

import hashlib
import io

import openslide
import pytest
import tifffile

from e2e.services import problem


def restored(service, slide, query="", **body):
    """The finished job."""
    answer = service.client.post(f"/slides/{slide}/restore{query}", json=body)
    assert answer.status_code in (200, 202), answer.text
    assert (answer.json()["kind"], answer.headers["location"]) == ("restore", answer.json()["links"]["self"])
    return service.job(answer.json()["id"])


@pytest.fixture(scope="module")
def pyramid(service, archived):
    """(job, its file) of the archive package, restored in full."""
    job = restored(service, "sample")
    assert job["state"] == "succeeded", job
    return job, service.client.get(job["links"]["result"])


def test_the_file_is_a_pyramid_of_the_slide(pyramid, tmp_path):
    job, answer = pyramid
    result = job["result"]
    assert job["progress"] == {"done": 35, "total": 35, "unit": "patches"}
    assert answer.headers["content-type"] == "image/tiff"
    assert (len(answer.content), hashlib.sha256(answer.content).hexdigest()) == (
        result["bytes"],
        result["sha256"],
    )
    assert (result["format"], result["width"], result["height"]) == ("tiff", 2220, 2967)
    assert result["reencoded"]["psnr_min"] > 30
    path = tmp_path / "slide.tif"
    path.write_bytes(answer.content)
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (2220, 2967)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.499, abs=1e-3)


def test_it_can_be_fetched_in_parts(service, pyramid):
    job, whole = pyramid
    url = job["links"]["result"]
    part = service.client.get(url, headers={"Range": "bytes=100-299"})
    assert (part.status_code, part.content) == (206, whole.content[100:300])
    rest = service.client.get(url, headers={"Range": "bytes=300-", "If-Range": part.headers["etag"]})
    assert rest.content == whole.content[300:]
    problem(service.client.get(url, headers={"Range": "bytes=999999999-"}), 416, "range-not-satisfiable")
    head = service.client.head(url)
    assert int(head.headers["content-length"]) == len(whole.content)
    assert service.client.get(url, headers={"If-None-Match": head.headers["etag"]}).status_code == 304


def test_a_smaller_level_is_smaller(service, archived):
    job = restored(service, "sample", level=2)
    result = job["result"]
    assert (result["level"], result["width"], result["height"]) == (2, 555, 742)
    with tifffile.TiffFile(io.BytesIO(service.client.get(job["links"]["result"]).content)) as file:
        assert file.pages[0].shape[:2] == (742, 555)


def test_the_original_comes_back_tile_by_tile(service, sample_slide, archived):
    # A slide of its own: tests beside this one ask for the newest package of ``sample``.
    service.client.put("/slides/kept", json={"uri": sample_slide.as_uri()}).raise_for_status()
    compressed = service.compress("kept", profile="exact")
    assert compressed["state"] == "succeeded"
    job = restored(service, "kept", f"?package={compressed['package']['id']}", format="original")
    content = service.client.get(job["links"]["result"]).content
    with tifffile.TiffFile(sample_slide) as source, tifffile.TiffFile(io.BytesIO(content)) as file:
        tiles = [[data for data, _ in _raw(opened)] for opened in (source, file)]
        assert tiles[0] == tiles[1]
        assert len(tiles[0]) == 130


def _raw(file):
    page = file.pages[0]
    return list(file.filehandle.read_segments(page.dataoffsets, page.databytecounts))


def test_a_package_that_is_not_exact_has_no_original(service, archived):
    job = restored(service, "sample", f"?package={archived['package']['id']}", format="original")
    assert (job["state"], job["problem"]["code"], job["result"]) == ("failed", "conflict", None)
    problem(service.client.get(f"/jobs/{job['id']}/result"), 404, "not-found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"format": "dicom"}, "invalid-input"),
        ({"level": 30}, "region-out-of-range"),
        ({"level": -1}, "invalid-input"),
        ({"format": "original", "level": 1}, "invalid-input"),
        ({"region": "all"}, "invalid-input"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(service, archived, body, code):
    problem(service.client.post("/slides/sample/restore", json=body), 422, code)


def test_a_key_finds_its_job_again(service, pyramid):
    headers = {"Idempotency-Key": "restore-1"}
    first = service.client.post("/slides/sample/restore", json={"level": 3}, headers=headers).json()
    service.job(first["id"])
    for more in (headers, {}, {"Idempotency-Key": "restore-2"}):
        again = service.client.post("/slides/sample/restore", json={"level": 3}, headers=more)
        # The file is there: nothing is made again.
        assert (again.status_code, again.json()["id"]) == (200, first["id"])
        assert again.json()["links"]["result"]
    other = service.client.post("/slides/sample/restore", json={"level": 2}, headers=headers)
    problem(other, 409, "conflict")
    problem(service.client.post("/slides/sample/compress", headers=headers), 409, "conflict")
