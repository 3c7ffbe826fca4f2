"""A power cut in mid-job: after the next start the job finishes, and nothing half-made is left or seen."""

import time

import pytest

from adaslide.library import verify_package


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("moment", ["planning", "compressing", "verifying"])
def test_a_killed_job_finishes_after_the_next_start(start_service, tmp_path, sample_slide, moment):
    data = tmp_path / "data"
    first = start_service(data, ALLOWED_ROOTS=sample_slide.parent)
    body = {"source": {"uri": sample_slide.as_uri()}}
    job = first.client.post("/slides/case/compress", json=body).json()

    def reached():
        now = first.client.get(f"/jobs/{job['id']}").json()
        assert now["state"] != "succeeded", "too late: the moment was missed"
        return {
            "planning": now["state"] == "running",
            "compressing": now["progress"]["done"] > 3,
            "verifying": now["state"] == "verifying",
        }[moment]

    first.wait(reached)
    assert first.client.get("/slides/case").json()["packages"] == []
    assert first.client.get("/slides/case.dzi").status_code == 404
    children = first.kill()
    # What a write cut short leaves behind.
    for folder in (*data.glob("packages/*"), *data.glob("scratch/*")):
        (folder / ".tmp-0123").write_bytes(b"half an obj")
    end = time.monotonic() + 10
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < end, "processes outlive the service"
        time.sleep(0.1)

    second = start_service(data, ALLOWED_ROOTS=sample_slide.parent)
    done = second.job(job["id"])
    assert done["state"] == "succeeded", done
    # While verifying it may have been killed before anybody had taken the step up.
    assert done["attempts"] in ({1, 2} if moment == "verifying" else {2})
    (listed,) = second.client.get("/slides/case").json()["packages"]
    (kept,) = (data / "packages").iterdir()
    assert listed["id"] == done["package"]["id"] == kept.stem.rpartition("-")[0]
    second.wait(lambda: not second.scratch())
    assert not [path for path in files(data) if path.name.startswith(".tmp-")]
    assert verify_package(kept, sample_slide).ok
    assert second.client.get("/slides/case_files/12/2_3.jpg").status_code == 200
    assert second.stop() == 0


def test_an_upload_cut_short_is_removed_at_the_next_start(start_service, tmp_path):
    data = tmp_path / "data"
    start_service(data).kill()
    (data / "uploads" / "unknown").mkdir(parents=True)
    (data / "uploads" / "unknown" / "source.svs").write_bytes(b"half a slide")
    service = start_service(data)
    assert list((data / "uploads").iterdir()) == []
    assert service.stop() == 0
