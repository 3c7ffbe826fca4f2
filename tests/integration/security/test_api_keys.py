"""API keys, made and revoked by the command line, used over HTTP."""

import json
import os
import subprocess
import sys

import pytest

from adaslide.adapters.db.ids import new_id
from adaslide.domain.access import Role
from adaslide.domain.api_key import ApiKey
from adaslide.domain.audit import Outcome

CLI = "import sys; from adaslide.cli import main; main()"


@pytest.fixture
def adaslide(tmp_path):
    """Runs a command on the same data folder as the service's."""

    def run(*arguments, status=0):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ADASLIDE_")}
        environment["ADASLIDE_DATA_DIR"] = str(tmp_path / "data")
        ran = subprocess.run(
            [sys.executable, "-c", CLI, *arguments], env=environment, capture_output=True, text=True
        )
        assert ran.returncode == status, ran.stderr
        return ran

    return run


def test_a_key_opens_what_its_roles_do_until_it_is_revoked(secured, adaslide):
    made = adaslide("keys", "create", "--tenant", "north", "--role", "viewer", "--role", "auditor")
    text = made.stdout.strip()
    assert text.startswith("ads_")
    assert text not in made.stderr
    for headers in ({"X-Api-Key": text}, {"Authorization": f"Bearer {text}"}):
        assert secured.client.get("/jobs", headers=headers).status_code == 200
        assert secured.client.post("/slides", headers=headers).status_code == 403
    (row,) = json.loads(adaslide("keys", "list", "--json").stdout)
    assert (row["tenant"], row["roles"], row["state"]) == ("north", ["auditor", "viewer"], "valid")
    assert row["last_used_at"]
    adaslide("keys", "revoke", row["id"])
    assert secured.client.get("/jobs", headers={"X-Api-Key": text}).status_code == 401
    assert "revoked" in adaslide("keys", "list").stdout
    actions = [(r.entry.action, r.entry.outcome) for r in secured.audit() if r.entry.principal == "local"]
    assert actions == [("key.create", Outcome.OK), ("key.revoke", Outcome.OK)]


def test_the_secret_is_kept_nowhere(secured, adaslide, tmp_path):
    made = json.loads(adaslide("keys", "create", "--role", "viewer", "--expires", "7", "--json").stdout)
    secret = ApiKey.parse(made["key"]).secret.encode()
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert any(made["id"].encode() in path.read_bytes() for path in files)
    assert not [path for path in files if secret in path.read_bytes()]
    assert made["expires_at"] > made["created_at"]


@pytest.mark.parametrize(
    "arguments",
    [("create",), ("create", "--role", "emperor"), ("create", "--role", "viewer", "--expires", "0")],
)
def test_keys_that_make_no_sense(adaslide, arguments):
    adaslide("keys", *arguments, status=2)


def test_a_tenant_that_is_no_name(adaslide):
    adaslide("keys", "create", "--role", "viewer", "--tenant", "North Wing", status=3)


def test_a_key_that_is_not_there_cannot_be_revoked(adaslide):
    adaslide("keys", "revoke", new_id(), status=3)


def test_wrong_keys(secured):
    text, key_id = secured.api_key(Role.VIEWER)
    wrong = [
        ApiKey.new(key_id).text,  # the right id, another secret
        ApiKey.new(new_id()).text,
        text[:-1] + ("0" if text[-1] != "0" else "1"),
        text + "0",
        "ads_",
    ]
    for given in wrong:
        for headers in ({"X-Api-Key": given}, {"Authorization": f"Bearer {given}"}):
            answer = secured.client.get("/jobs", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert secured.client.get("/jobs", headers={"X-Api-Key": text}).status_code == 200


def test_credentials_of_another_form(secured):
    text, _ = secured.api_key(Role.VIEWER)
    token = secured.provider.token(Role.VIEWER)
    for headers in (
        [("Authorization", f"Basic {text}")],
        [("Authorization", "Bearer")],
        [("X-Api-Key", token)],
        [("X-Api-Key", text), ("Authorization", f"Bearer {token}")],
        [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")],
    ):
        assert secured.client.get("/jobs", headers=headers).status_code == 401
    assert secured.client.get(f"/jobs?token={text}&api_key={text}").status_code == 401


def test_a_key_is_its_tenants(secured):
    text, key_id = secured.api_key(Role.VIEWER, tenant="south")
    assert secured.client.post("/slides", headers={"X-Api-Key": text}).status_code == 403
    (record,) = secured.audit(outcome=Outcome.DENIED)
    assert (record.entry.tenant, record.entry.principal) == ("south", f"key-{key_id}")


@pytest.mark.parametrize(
    ("change", "finds"),
    [
        ("UPDATE audit SET principal = 'someone' WHERE seq = 1", "record 1 was changed"),
        ("DELETE FROM audit WHERE seq = 1", "records are missing or moved"),
        ("DELETE FROM audit WHERE seq = 2", "the chain ends with record 1"),
    ],
)
def test_the_command_line_verifies_the_audit_log(adaslide, tmp_path, change, finds):
    import sqlite3

    for _ in range(2):
        adaslide("keys", "create", "--role", "viewer")
    verified = json.loads(adaslide("audit", "verify", "--json").stdout)
    assert (verified["ok"], verified["records"]) == (True, 2)
    adaslide("audit", "verify", "--noted", verified["head"])
    assert [json.loads(line)["seq"] for line in adaslide("audit", "export").stdout.splitlines()] == [1, 2]
    connection = sqlite3.connect(tmp_path / "data" / "adaslide.sqlite")
    connection.executescript(f"DROP TRIGGER audit_update; DROP TRIGGER audit_delete; {change};")
    connection.close()
    assert finds in adaslide("audit", "verify", status=4).stderr
