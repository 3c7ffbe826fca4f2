"""Every route, taken from the app itself: who may call it, and what everybody else is told."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from adaslide.domain.access import Role
from adaslide.domain.audit import NOBODY, Outcome

from .secured import answers, calls

PUBLIC = {"/healthz", "/readyz", "/openapi.json", "/", "/problems/{code}"}
MATRIX = Path(__file__).parents[3] / "docs" / "security.md"
DENIED = "application/problem+json"


def refused(responses, status):
    """Those that were not refused with ``status``."""
    return {
        where: answer.status_code
        for where, answer in responses.items()
        if answer.status_code != status
        or (status == 401 and not answer.headers["www-authenticate"].startswith("Bearer"))
        or (where[0] != "HEAD" and answer.headers["content-type"] != DENIED)
    }


def test_every_route_declares_who_may_call_it(secured):
    found = calls(secured)
    assert len(found) > 20
    assert not [call.path for call in found if call.requirement is None]
    assert {call.path for call in found if call.public} == PUBLIC


def test_nobody_gets_nothing(holding):
    assert refused(answers(holding, {}), 401) == {}


def test_public_routes_ask_nobody(holding):
    for where, answer in answers(holding, {}, lambda call: call.public).items():
        assert answer.status_code in (200, 307), where


@pytest.mark.parametrize("role", Role)
def test_a_role_opens_its_own_routes_and_no_other(holding, role):
    headers = holding.bearer(role)
    closed = answers(holding, headers, lambda c: not c.public and role not in c.requirement.roles)
    opened = answers(holding, headers, lambda c: not c.public and role in c.requirement.roles)
    assert refused(closed, 403) == {}
    assert not {where for where, answer in opened.items() if answer.status_code in (401, 403)}
    assert closed


def test_all_roles_together_open_everything(holding, every_role):
    responses = answers(holding, holding.bearer(*every_role))
    assert not {w: a.status_code for w, a in responses.items() if a.status_code in (401, 403, 500)}


def test_without_a_role_nothing_opens(holding):
    assert refused(answers(holding, holding.bearer()), 403) == {}


def test_an_expired_token_opens_nothing(holding, every_role):
    headers = holding.bearer(*every_role, exp=datetime.now(UTC) - timedelta(seconds=2))
    assert refused(answers(holding, headers), 401) == {}


def test_an_unsigned_token_opens_nothing(holding, every_role):
    token = jwt.encode(holding.provider.claims(*every_role), None, "none", headers={"kid": "rsa-1"})
    assert refused(answers(holding, {"Authorization": f"Bearer {token}"}), 401) == {}


def test_an_expired_key_opens_nothing(holding, every_role):
    text, _ = holding.api_key(*every_role, ends=datetime.now(UTC) - timedelta(seconds=1))
    assert refused(answers(holding, {"X-Api-Key": text}), 401) == {}


def test_refusals_are_recorded_by_route_and_without_names(holding):
    answers(holding, {})
    answers(holding, holding.bearer())
    records = [record for record in holding.audit() if record.entry.outcome is Outcome.DENIED]
    closed = [call for call in calls(holding) if not call.public]
    strangers = [record for record in records if record.entry.principal == NOBODY]
    assert len(strangers) == len(closed)
    assert len(records) == 2 * len(closed)
    assert "GET /slides/{key}" in {record.entry.action for record in records}
    assert "Jane" not in str(records)


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        # A proxy in front has a name of its own; the credential tells who asks.
        ({}, "slides.example", 401),
        # A container without users, its port published on loopback.
        ({"auth": {"mode": "none"}, "serving": {"host": "0.0.0.0", "allow_remote": True}}, "localhost", 200),
        (
            {"auth": {"mode": "none"}, "serving": {"host": "0.0.0.0", "allow_remote": True}},
            "slides.example",
            421,
        ),
    ],
)
def test_hosts_that_are_answered(start, settings, host, status):
    assert start(**settings).client.get("/jobs", headers={"Host": host}).status_code == status


def test_the_documented_matrix_is_the_apps_own(secured):
    """docs/security.md has one line a route: `METHOD path` and a mark under every role that opens it."""
    documented = {}
    header = None
    for line in MATRIX.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "Route":
            header = cells[1:]
        match = re.fullmatch(r"`([A-Z]+) (/\S*)`", cells[0])
        if match and header:
            marks = {name for name, mark in zip(header, cells[1:], strict=True) if mark}
            documented[match[1], match[2]] = marks
    actual = {
        (call.method, call.path): {str(role) for role in call.requirement.roles} or {"public"}
        for call in calls(secured)
    }
    assert documented == actual
