"""Legal holds forbid removals; who set, lifted and removed is recorded, why is not."""

import pytest

from adaslide.domain.access import Role

REASON = "court order 4711"


@pytest.fixture
def call(holding):
    """A request of somebody with one role."""
    headers = {role: holding.bearer(role) for role in Role}

    def call(method, path, role, **more):
        return holding.client.request(method, path, headers=headers[role], **more)

    return call


@pytest.fixture
def places(holding):
    """(the slide, its exact package)."""
    slide = f"/slides/{holding.slide}"
    return slide, f"{slide}/packages/{holding.packages['exact']}"


@pytest.mark.parametrize("held", [0, 1], ids=["slide", "package"])
def test_what_is_held_stays_until_the_hold_is_lifted(call, holding, places, held):
    slide, package = places
    answer = call("PUT", f"{places[held]}/hold", Role.APPROVER, json={"reason": REASON})
    assert answer.status_code == 200
    assert answer.json()["hold"]["reason"] == REASON
    refused = call("DELETE", package, Role.OPERATOR)
    assert (refused.status_code, refused.json()["code"]) == (409, "held")
    assert call("GET", f"{slide}.dzi?package={holding.packages['exact']}", Role.VIEWER).status_code == 200
    assert call("DELETE", f"{places[held]}/hold", Role.APPROVER).status_code == 204
    assert call("DELETE", package, Role.OPERATOR).status_code == 204
    assert call("DELETE", package, Role.OPERATOR).status_code == 404
    assert [p["id"] for p in call("GET", slide, Role.VIEWER).json()["packages"]] == [
        holding.packages["paper"]
    ]
    assert call("GET", f"{slide}.dzi?package={holding.packages['exact']}", Role.VIEWER).status_code == 404


def test_a_job_outlives_its_package(call, holding, places):
    slide, _ = places
    assert call("GET", f"/jobs/{holding.job}", Role.VIEWER).json()["package"]["id"]
    call("DELETE", f"{slide}/packages/{holding.packages['paper']}", Role.OPERATOR)
    job = call("GET", f"/jobs/{holding.job}", Role.VIEWER).json()
    assert (job["state"], job["package"]) == ("succeeded", None)


def test_a_package_is_its_own_slides(call, holding, places, two_packages):
    _, package = places
    package_id = package.rpartition("/")[2]
    holding.hold(tenant="north2", exact=two_packages["exact"])
    assert call("DELETE", f"/slides/{holding.slide}/packages/{package_id}", Role.OPERATOR).status_code == 404


def test_it_is_recorded_who_did_it_and_not_why(call, holding, places, capfd, caplog):
    caplog.set_level("DEBUG")
    _, package = places
    for place in places:
        call("PUT", f"{place}/hold", Role.APPROVER, json={"reason": REASON})
        call("DELETE", f"{place}/hold", Role.APPROVER)
    call("DELETE", package, Role.OPERATOR)
    records = holding.audit()
    assert [record.entry.action for record in records] == [*["hold.set", "hold.lift"] * 2, "package.remove"]
    on_package = {"slide": holding.slide, "package": holding.packages["exact"]}
    assert [dict(record.entry.objects) for record in records[2:]] == [on_package] * 3
    assert REASON not in str(records) + caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("reason", ["", "x" * 201, "a\nb", None])
def test_a_reason_has_a_form(call, places, reason):
    answer = call("PUT", f"{places[0]}/hold", Role.APPROVER, json={"reason": reason})
    assert answer.status_code == 422
