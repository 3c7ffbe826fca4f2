"""What is recorded, and who reads it."""

import json
import re
from contextlib import suppress

import httpx
import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.adapters.db.security import SqlAudit
from adaslide.domain.access import Role
from adaslide.domain.audit import NOBODY, AuditEntry, Outcome, breaks
from adaslide.domain.errors import StoreUnavailable
from adaslide_api import auditor


def actions(secured):
    return [(r.entry.action, r.entry.outcome, dict(r.entry.objects)) for r in secured.audit()]


@pytest.fixture
def roots(start, sample_slide):
    return start(allowed_roots=(sample_slide.parent,))


def test_registering_compressing_and_cancelling_are_recorded(roots, sample_slide):
    headers = roots.bearer(Role.INTEGRATOR)
    source = {"uri": sample_slide.as_uri()}
    slide = roots.client.put("/slides/Doe Jane", json=source, headers=headers).json()["id"]
    job = roots.client.post("/slides/Doe Jane/compress", headers=headers).json()["id"]
    roots.client.delete(f"/jobs/{job}", headers=headers)
    roots.client.put("/slides/Doe Jane", json={"uri": "file:///etc/passwd"}, headers=headers)
    assert actions(roots) == [
        ("slide.register", Outcome.OK, {"slide": slide}),
        ("slide.compress", Outcome.OK, {"slide": slide, "job": job}),
        ("job.cancel", Outcome.OK, {"job": job}),
        ("slide.register", Outcome.REFUSED, {}),
    ]
    records = roots.audit()
    assert {re.fullmatch("user-[0-9a-f]{32}", record.entry.principal) is not None for record in records} == {
        True
    }
    assert "Jane" not in str(records)


def test_a_change_and_its_record_are_one_transaction(holding, monkeypatch):
    """A process that dies after its commit has recorded what it did; what cannot be recorded is not done."""
    headers = holding.bearer(Role.APPROVER)
    url = f"/slides/{holding.slide}/hold"

    async def die(*arguments):
        raise RuntimeError("the process died before the answer")

    with monkeypatch.context() as patch:
        patch.setattr(auditor.Auditor, "_record", die)
        with httpx.Client(base_url=holding.client.base_url) as other, suppress(httpx.HTTPError):
            other.put(url, json={"reason": "x"}, headers=headers)
    assert actions(holding) == [("hold.set", Outcome.OK, {"slide": holding.slide})]

    def fail(self, entry):
        raise StoreUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(SqlAudit, "append", fail)
        assert holding.client.delete(url, headers=headers).status_code == 503
    with holding.database.read() as unit:
        assert unit.slides.get(holding.slide).hold is not None
    assert holding.client.delete(url, headers=headers).status_code == 204
    assert [action for action, _, _ in actions(holding)] == ["hold.set", "hold.lift"]


def test_a_registration_on_the_way_has_a_record_of_its_own(roots, sample_slide):
    body = {"source": {"uri": sample_slide.as_uri()}}
    job = roots.client.post("/slides/one/compress", json=body, headers=roots.bearer(Role.INTEGRATOR)).json()
    assert actions(roots) == [
        ("slide.register", Outcome.OK, {"slide": job["slide"]}),
        ("slide.compress", Outcome.OK, {"slide": job["slide"], "job": job["id"]}),
    ]


def test_a_package_read_object_by_object_is_one_record(holding, monkeypatch):
    monkeypatch.setattr(auditor, "ONCE_S", 900.0)
    for name in ("exact", "paper"):
        for key in ("zarr.json", "0/zarr.json", "zarr.json"):
            url = f"/slides/{holding.slide}/package/{key}?package={holding.packages[name]}"
            assert holding.client.get(url, headers=holding.bearer(Role.VIEWER)).status_code == 200
    ids = {"slide": holding.slide}
    assert actions(holding) == [
        ("package.read", Outcome.OK, ids | {"package": holding.packages[name]}) for name in ("exact", "paper")
    ]
    monkeypatch.setattr(auditor, "ONCE_S", 0.0)
    holding.client.get(url, headers=holding.bearer(Role.VIEWER))
    assert len(actions(holding)) == 3


def test_looking_at_tiles_is_not_recorded(holding):
    holding.client.get(f"/slides/{holding.slide}.dzi", headers=holding.bearer(Role.VIEWER))
    holding.client.get("/slides/none", headers=holding.bearer(Role.VIEWER))
    assert actions(holding) == []


def test_a_crowd_of_strangers_does_not_fill_the_log(secured, monkeypatch):
    monkeypatch.setattr(auditor, "STRANGERS_A_MINUTE", 3)
    monkeypatch.setattr(auditor.time, "monotonic", lambda: 1000.0)
    for _ in range(6):
        assert secured.client.get("/jobs").status_code == 401
    secured.client.get("/jobs", headers=secured.bearer())
    denied = [record.entry.principal for record in secured.audit(outcome=Outcome.DENIED)]
    assert denied[:3] == [NOBODY] * 3
    assert len(denied) == 4


def test_a_page_of_another_site_is_recorded(secured):
    answer = secured.client.post("/slides", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert actions(secured) == [("POST -", Outcome.DENIED, {})]


def test_what_cannot_be_recorded_is_not_answered(holding, monkeypatch):
    def fail(self, entry):
        raise StoreUnavailable("the database does not answer")

    monkeypatch.setattr(SqlAudit, "append", fail)
    url = f"/slides/{holding.slide}/package/zarr.json"
    answer = holding.client.get(url, headers=holding.bearer(Role.VIEWER))
    assert (answer.status_code, answer.json()["code"]) == (503, "store-unavailable")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def log(secured):
    """Six records, every third of another tenant."""
    with secured.database.write() as unit:
        for number in range(6):
            tenant = "south" if number % 3 == 2 else "north"
            unit.audit.append(
                AuditEntry(tenant, f"key-{number % 2}", "slide.register", Outcome.OK, {"slide": new_id()})
            )
    return secured


def test_auditors_read_their_own_tenants_records_page_by_page(log):
    headers = log.bearer(Role.AUDITOR)
    first = log.client.get("/audit?limit=2", headers=headers).json()
    second = log.client.get(f"/audit?limit=2&before={first['next']}", headers=headers).json()
    last = log.client.get(f"/audit?limit=2&before={second['next']}", headers=headers).json()
    assert [item["seq"] for page in (first, second, last) for item in page["items"]] == [5, 4, 2, 1]
    assert last == {"items": [], "next": None}
    south = log.client.get("/audit", headers=log.bearer(Role.AUDITOR, tenant="south")).json()
    assert [item["seq"] for item in south["items"]] == [6, 3]


def test_records_are_filtered(log):
    headers = log.bearer(Role.AUDITOR)

    def found(**query):
        answer = log.client.get("/audit", params=query, headers=headers)
        return [item["seq"] for item in answer.json()["items"]]

    one = log.audit()[0]
    assert found(principal="key-1") == [4, 2]
    assert found(object=one.entry.objects["slide"]) == [1]
    assert found(until=log.audit()[1].at.isoformat()) == [1]
    assert found(since=log.audit()[4].at.isoformat()) == [5]
    assert found(action="job.cancel") == found(outcome="denied") == []
    assert log.client.get("/audit?since=2026-01-01", headers=headers).status_code == 422
    assert log.client.get("/audit?outcome=maybe", headers=headers).status_code == 422


def test_the_export_is_the_tenants_log_line_by_line(log, monkeypatch):
    monkeypatch.setattr("adaslide_api.routes.audit.EXPORT_PAGE", 2)
    answer = log.client.get("/audit/export", headers=log.bearer(Role.AUDITOR))
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    stored = {record.seq: record for record in log.audit()}
    assert [line["seq"] for line in lines[:4]] == [1, 2, 4, 5]
    for line in lines:
        assert line == stored[line["seq"]].as_dict()
    # The export itself is the last record, written before the first line goes out.
    assert [line["action"] for line in lines] == ["slide.register"] * 4 + ["audit.export"]


def test_the_services_own_chain_holds(log):
    log.client.get("/jobs")
    with log.database.read() as unit:
        assert list(breaks(log.audit(), unit.audit.head)) == []
        assert unit.audit.head().seq == 7
