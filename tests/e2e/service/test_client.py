"""The client against the real service, from a slide to its pixels and back to a file.

What is asked of one API is awaited and fetched at another, where there are two.
"""

import time

import numpy as np
import openslide
import pytest

from adaslide.client import Client
from adaslide.domain.errors import Conflict, InputError, NotFound, SlideUnsupported
from adaslide.domain.job import JobKind, JobState, Urgency


@pytest.fixture(scope="module")
def client(service):
    with Client(service.apis[0].url) as client:
        yield client


@pytest.fixture(scope="module")
def other(service):
    """A client of another API."""
    with Client(service.apis[-1].url) as client:
        yield client


@pytest.fixture(scope="module")
def compressed(client, other, sample_slide):
    """(the finished job, what was told while it ran) of the sample, registered in place as ``case 7``."""
    told = []
    slide = client.register(sample_slide.as_uri(), "case 7")
    assert slide.size == (2220, 2967)
    # A floor that no other test has: else the package is another test's, and nothing is done.
    job = client.compress("case 7", profile="exact", dice_floor=0.31, urgency=Urgency.STAT)
    return other.wait(job, 240, lambda done, total: told.append((done, total))), told


def test_a_job_is_awaited(client, other, compressed):
    job, told = compressed
    assert (job.kind, job.state, job.urgency) == (JobKind.COMPRESS, JobState.SUCCEEDED, Urgency.STAT)
    assert told[-1] == (35, 35)
    assert told == sorted(told)
    assert client.package("case 7") == other.package("case 7") == job.package
    assert client.compress("case 7", profile="exact", dice_floor=0.31).id == job.id
    assert [j.id for j in client.jobs(state=JobState.SUCCEEDED, slide=job.slide)] == [job.id]
    assert list(client.jobs(state=JobState.FAILED, slide=job.slide)) == []


def test_the_end_is_told_also_of_work_that_was_done_already(client, compressed, sample_slide):
    client.register(sample_slide.as_uri(), "case 7 again")
    job, told = client.compress("case 7 again", profile="exact", dice_floor=0.31), []
    client.wait(job, 60, lambda done, total: told.append((done, total)))
    assert told[-1] == (35, 35)


def test_slides_are_found(client, compressed, sample_slide):
    (slide,) = client.slides(alias="case 7")
    assert slide.id == compressed[0].slide
    assert "case 7" not in repr(slide)
    upload = client.register(sample_slide)
    found = list(client.slides(sha256=slide.sha256))
    assert {slide.id, upload.id} <= {s.id for s in found}
    assert {s.sha256 for s in found} == {slide.sha256}
    with pytest.raises(NotFound):
        client.package(upload.id)


def test_pixels(client, other, compressed, sample_pixels):
    region = other.region("case 7", 431, 902, 200, 100)
    assert np.array_equal(region, sample_pixels[902:1002, 431:631])
    assert client.tile("case 7", 12, 0, 0, suffix="webp")[8:12] == b"WEBP"
    with pytest.raises(InputError):
        client.region("case 7", 2200, 0, 100, 10)


def test_a_file_comes_back_whole(other, compressed, sample_pixels, tmp_path):
    out = tmp_path / "slide.tif"
    job = other.restore("case 7", out, format="original", timeout=240)
    assert job.kind is JobKind.RESTORE
    assert out.stat().st_size == job.result.bytes
    with openslide.OpenSlide(out) as slide:
        pixels = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    assert np.array_equal(pixels, sample_pixels)
    with pytest.raises(NotFound):
        other.restore("nobody", tmp_path / "no.tif")
    assert [path.name for path in tmp_path.iterdir()] == ["slide.tif"]


def test_a_cancelled_job_is_no_success(client, other, compressed):
    job = client.compress("case 7", dice_floor=0.92)
    other.cancel(job.id)
    with pytest.raises(Conflict, match="cancelled"):
        client.wait(job, 60)
    with pytest.raises(Conflict):
        client.replay(job.id)


def test_waiting_ends_in_time(client, compressed):
    job = client.compress("case 7", dice_floor=0.93)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        client.wait(job, 0.5)
    assert time.monotonic() - started < 5
    client.cancel(job.id)


def test_what_is_no_slide_is_said_so(client, tmp_path):
    path = tmp_path / "Jane Doe.svs"
    path.write_bytes(b"no slide" * 100)
    with pytest.raises(SlideUnsupported):
        client.register(path)
