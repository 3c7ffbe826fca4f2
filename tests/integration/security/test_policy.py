"""Restored pixels are not shown for primary diagnosis."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from adaslide.adapters.db.ids import new_id
from adaslide.domain.access import LOCAL, Role
from adaslide.domain.job import JobState
from adaslide.ports.jobs import RestoreRequest
from adaslide_api.policy import USE_HEADER

REGION = "region?x=250&y=3&w=301&h=203&format=npy"


@pytest.fixture
def get(holding):
    """GET of something below the slide, as a viewer."""
    key = holding.api_key(Role.VIEWER)[0]

    def get(path, package="paper", **headers):
        joined = (
            f"/slides/{holding.slide}{path}{'&' if '?' in path else '?'}package={holding.packages[package]}"
        )
        return holding.client.get(joined, headers={"X-Api-Key": key} | headers)

    return get


TILE = "_files/10/0_0.png"
PLACES = [TILE, f"/{REGION}"]


def problem(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert answer.json()["code"] == "restored-not-for-primary"
    return answer.json()


@pytest.mark.parametrize("path", PLACES)
def test_restored_pixels_are_shown_for_everything_else(get, path):
    for use in (None, "secondary", "research"):
        answer = get(path, **({USE_HEADER: use} if use else {}))
        assert answer.status_code == 200
        assert answer.headers["x-adaslide-provenance"] == "restored"


@pytest.mark.parametrize("path", PLACES)
def test_a_primary_diagnosis_is_led_to_the_exact_package(get, holding, path):
    exact = holding.packages["exact"]
    stated = problem(get(path, **{USE_HEADER: "primary"}))
    assert stated["exact"] == {"package": exact, "dzi": f"/slides/{holding.slide}.dzi?package={exact}"}
    assert get(path, package="exact", **{USE_HEADER: "primary"}).status_code == 200


def test_the_stricter_of_header_and_query_is_meant(get):
    problem(get(f"{TILE}?use=primary"))
    problem(get(f"{TILE}?use=primary", **{USE_HEADER: "research"}))
    problem(get(f"{TILE}?use=research", **{USE_HEADER: "primary"}))


@pytest.mark.parametrize("use", ["Primary", "diagnosis", ""])
def test_a_use_that_is_none_is_refused(get, use):
    assert get(TILE, **{USE_HEADER: use}).status_code == 422
    assert get(f"{TILE}?use={use}").status_code == 422


@pytest.mark.parametrize("path", PLACES)
def test_a_cached_answer_is_not_confirmed(get, path):
    seen = get(path)
    assert seen.headers["vary"] == USE_HEADER
    tag = {"If-None-Match": seen.headers["etag"]}
    assert get(path, **tag).status_code == 304
    problem(get(path, **tag, **{USE_HEADER: "primary"}))


@pytest.mark.parametrize(
    ("package", "level", "status"), [("paper", 0, 403), ("paper", 1, 202), ("exact", 0, 202)]
)
def test_no_file_of_restored_pixels_is_made_for_it(holding, package, level, status):
    url = f"/slides/{holding.slide}/restore?package={holding.packages[package]}"
    headers = holding.bearer(Role.INTEGRATOR) | {USE_HEADER: "primary"}
    answer = holding.client.post(url, json={"level": level}, headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert problem(answer)["exact"]["package"] == holding.packages["exact"]


@pytest.mark.parametrize(("restored", "status"), [(True, 403), (False, 200)])
def test_nor_given_away_once_it_is_there(holding, restored, status):
    wanted = RestoreRequest(holding.packages["paper"], "tiff")
    with holding.database.write() as unit:
        slide = unit.slides.get(holding.slide)
        job = replace(unit.jobs.get(holding.job), id=new_id(), package_id=new_id(), request=wanted)
        unit.jobs.add(replace(job, state=JobState.QUEUED))
        for state in (JobState.RUNNING, JobState.VERIFYING, JobState.SUCCEEDED):
            unit.jobs.transition(job.id, state)
        result = {"token": 1, "bytes": 4, "sha256": "0" * 64, "restored": restored, "format": "tiff"}
        unit.jobs.set_result(job.id, result | {"width": 1, "height": 1, "level": 0, "reencoded": None})
    assert slide.tenant == job.tenant
    holding.app.state.services.backend.workspace.export(job.id, 1).put("slide.tif", b"II*.")
    url, headers = f"/jobs/{job.id}/result", holding.bearer(Role.VIEWER)
    assert holding.client.get(url, headers=headers).content == b"II*."
    assert holding.client.get(url, headers=headers | {USE_HEADER: "primary"}).status_code == status
    elsewhere = holding.bearer(Role.VIEWER, tenant="elsewhere")
    assert holding.client.get(url, headers=elsewhere).status_code == 404


def test_smaller_levels_hold_nothing_restored(get):
    answer = get("_files/9/0_0.png", **{USE_HEADER: "primary"})
    assert answer.status_code == 200
    assert answer.headers["x-adaslide-provenance"] in ("preview", "lossy", "mixed")


def test_the_preview_is_what_was_stored(get, two_packages):
    answer = get(f"/{REGION}&preview=true", **{USE_HEADER: "primary"})
    assert (answer.status_code, answer.headers["x-adaslide-provenance"]) == (200, "preview")
    shown = np.load(io.BytesIO(answer.content))
    assert shown.shape == (203, 301, 3)
    quarter = np.load(io.BytesIO(get("/region?x=62&y=0&w=76&h=52&level=2&format=npy").content))
    # Pixel (250, 3) lies in the stored pixel (62, 0), third of four across and last of four down.
    for y, x in ((0, 0), (5, 9), (202, 300)):
        assert (shown[y, x] == quarter[(y + 3) // 4, (x + 250) // 4 - 62]).all()
    restored = np.load(io.BytesIO(get(f"/{REGION}").content))
    assert (restored != shown).any()


def test_a_tiles_preview_is_cached_apart(get):
    shown, preview = get(TILE), get(f"{TILE}?preview=true", **{USE_HEADER: "primary"})
    assert preview.headers["x-adaslide-provenance"] == "preview"
    assert preview.headers["etag"] != shown.headers["etag"]
    sizes = {Image.open(io.BytesIO(answer.content)).size for answer in (shown, preview)}
    assert len(sizes) == 1
    assert get(f"{TILE}?preview=true", package="exact").headers["x-adaslide-provenance"] != "preview"


def test_without_an_exact_package_there_is_no_pointer(secured, two_packages):
    secured.hold(paper=two_packages["paper"])
    url = f"/slides/{secured.slide}{TILE}?use=primary"
    assert problem(secured.client.get(url, headers=secured.bearer(Role.VIEWER)))["exact"] is None


def test_a_site_may_allow_it(start, two_packages):
    allowing = start(policy={"restored_for_primary": True})
    allowing.hold(paper=two_packages["paper"])
    answer = allowing.client.get(
        f"/slides/{allowing.slide}{TILE}?use=primary", headers=allowing.bearer(Role.VIEWER)
    )
    assert answer.headers["x-adaslide-provenance"] == "restored"


def test_it_holds_without_users_too(start, two_packages):
    open_ = start(auth={"mode": "none"})
    open_.hold(LOCAL.tenant, paper=two_packages["paper"])
    problem(open_.client.get(f"/slides/{open_.slide}{TILE}?use=primary"))
    assert open_.client.get(f"/slides/{open_.slide}{TILE}").status_code == 200
