"""What belongs to another tenant does not exist: on every route, taken from the app itself."""

from datetime import UTC, datetime

import pytest

from adaslide.domain.access import Principal, Role

from .secured import TENANT, answers, calls

ELSEWHERE = "south"


@pytest.fixture
def stranger(holding, every_role):
    """The header of somebody who may do everything, in another tenant."""
    return holding.bearer(*every_role, tenant=ELSEWHERE)


def test_every_route_that_names_an_object_hides_another_tenants(holding, stranger):
    found = answers(
        holding,
        stranger,
        # Its body is looked at first, and its name is that of what is to come.
        lambda call: ("{key}" in call.path or "{job_id}" in call.path) and call.method != "PUT",
    )
    assert len(found) > 10
    assert not {where: answer.status_code for where, answer in found.items() if answer.status_code != 404}


@pytest.mark.parametrize("place", ["", "/packages/{package}"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_nobody_holds_or_frees_another_tenants(holding, stranger, place, method):
    url = f"/slides/{holding.slide}{place.format(package=holding.packages['exact'])}/hold"
    body = {"json": {"reason": "theirs"}} if method == "PUT" else {}
    assert holding.client.request(method, url, headers=stranger, **body).status_code == 404


def test_lists_do_not_show_it(holding, stranger):
    for path in ("/slides", "/jobs", f"/jobs?slide={holding.slide}"):
        assert holding.client.get(path, headers=stranger).json()["items"] == []
        assert holding.client.get(path, headers=holding.bearer(Role.VIEWER)).json()["items"] != []


def test_its_own_token_does_not_open_it(holding):
    """A token's tenant is its maker's, whatever slide it names."""
    tokens = holding.app.state.services.tile_tokens
    for tenant, status in ((ELSEWHERE, 404), (TENANT, 200)):
        principal = Principal("user-1", tenant, frozenset({Role.VIEWER}))
        text = tokens.sign(tokens.grant(principal, holding.slide, None, datetime.now(UTC)))
        assert holding.client.get(f"/slides/{holding.slide}.dzi?token={text}").status_code == status


def test_two_tenants_use_one_name(start, sample_slide):
    both = start(allowed_roots=(sample_slide.parent,))
    source = {"uri": sample_slide.as_uri()}
    ids = {
        both.client.put(
            "/slides/case-7", json=source, headers=both.bearer(Role.INTEGRATOR, tenant=tenant)
        ).json()["id"]
        for tenant in ("north", ELSEWHERE)
    }
    assert len(ids) == 2
    for tenant in ("north", ELSEWHERE):
        headers = both.bearer(Role.VIEWER, tenant=tenant)
        assert both.client.get("/slides/case-7", headers=headers).json()["id"] in ids
        (only,) = both.client.get("/slides", headers=headers).json()["items"]
        assert only["id"] in ids


def test_every_object_route_was_meant(holding):
    """A new placeholder in a path must be named above."""
    named = {part for call in calls(holding) for part in call.path.split("/") if part.startswith("{")}
    objects = {part.split("}")[0] + "}" for part in named}
    assert objects == {
        "{key}",
        "{job_id}",
        "{package_id}",
        "{level}",
        "{name}",
        "{layer}",
        "{row}",
        "{col}",
        "{path:path}",
        "{code}",
        "{upload_id}",  # test_resumable_uploads.py
    }
