"""A power cut in mid-job: after the next start the job finishes, and nothing half-made is left or seen.

In a cluster it hits every worker and one of the APIs; the other one goes on.
"""

import time

import pytest

from adaslide.library import verify_package

PACKAGES = {
    "planning": {"profile": "exact", "dice_floor": 0.33},
    "compressing": {"profile": "paper", "dice_floor": 0.61},
    "verifying": {"profile": "paper", "dice_floor": 0.62},
}
"""One of its own for each moment, and as quick as leaves time to hit it."""


def leave_half_made(service):
    """What uploads and restorations that were cut short leave on a machine: the folders."""
    half = [service.apis[0].data / "uploads" / "unknown"]
    half += [worker.data / "exporting" / "unknown-1" for worker in service.workers or service.apis]
    for folder in half:
        folder.mkdir(parents=True)
        (folder / "source.svs").write_bytes(b"half a slide")
    return half


@pytest.mark.parametrize("moment", PACKAGES)
def test_a_killed_job_finishes_after_the_next_start(service, sample_slide, moment):
    client, slide, before = service.client, f"killed {moment}", service.package_ids()
    body = {"source": {"uri": sample_slide.as_uri()}} | PACKAGES[moment]
    job = client.post(f"/slides/{slide}/compress", json=body).json()

    def reached():
        now = client.get(f"/jobs/{job['id']}").json()
        assert now["state"] != "succeeded", "too late: the moment was missed"
        return {
            "planning": now["state"] == "running",
            "compressing": now["progress"]["done"] > 3,
            "verifying": now["state"] == "verifying",
        }[moment]

    service.wait(reached)
    assert client.get(f"/slides/{slide}").json()["packages"] == []
    assert client.get(f"/slides/{slide}.dzi").status_code == 404
    children = service.kill()
    half_made = leave_half_made(service)
    end = time.monotonic() + 10
    while any(child.is_running() and child.status() != "zombie" for child in children):
        assert time.monotonic() < end, "processes outlive the service"
        time.sleep(0.1)

    service.start_again()
    assert not [folder for folder in half_made if folder.exists()]
    done = service.job(job["id"])
    assert done["state"] == "succeeded", done
    # While verifying it may have been killed before anybody had taken the step up.
    assert done["attempts"] in ({1, 2} if moment == "verifying" else {2})
    (listed,) = client.get(f"/slides/{slide}").json()["packages"]
    assert listed["id"] == done["package"]["id"]
    assert service.package_ids() - before == {listed["id"]}
    service.wait(lambda: not service.scratch())
    assert verify_package(service.package_folder(listed["id"]), sample_slide).ok
    assert client.get(f"/slides/{slide}_files/12/2_3.jpg").status_code == 200


def test_objects_cut_short_are_removed_at_the_next_start(embedded):
    """Of files: an S3 server has no half an object, and drops the parts of one by itself."""
    embedded.kill()
    folders = [embedded.data / "packages", embedded.data / "scratch" / "unknown"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".tmp-0123").write_bytes(b"half an obj")
    embedded.start_again()
    assert not [path for path in embedded.data.rglob(".tmp-*") if path.is_file()]
