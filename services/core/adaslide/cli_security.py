"""``adaslide keys`` and ``adaslide audit``: on the machine, with the service's own settings."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adaslide.domain.access import DEFAULT_TENANT, LOCAL, TENANT_PATTERN, Role
from adaslide.domain.audit import GENESIS, AuditEntry, AuditHead, AuditRecord, Outcome, breaks, canonical
from adaslide.domain.errors import InputError
from adaslide.terminal import Json, console, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adaslide.ports.jobs import Database
    from adaslide.ports.security import ApiKeyRecord

keys_app = typer.Typer(no_args_is_help=True, help="API keys: make, list, revoke.")
audit_app = typer.Typer(no_args_is_help=True, help="The audit log: verify, export.")

EXIT_INTEGRITY = 4
PAGE = 1000


def _database() -> "Database":
    from adaslide.backend import build_backend
    from adaslide.settings import load_settings

    return build_backend(load_settings()).database


def _entry(key: "ApiKeyRecord", action: str) -> AuditEntry:
    return AuditEntry(key.tenant, LOCAL.id, action, Outcome.OK, {"key": key.id})


@keys_app.command("create")
def create(
    role: Annotated[
        list[Role], typer.Option("--role", help="What its holder may do; give it several times.")
    ],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose slides.")] = DEFAULT_TENANT,
    expires: Annotated[int | None, typer.Option("--expires", min=1, help="Days it is valid.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it: it is shown this once and kept as a digest only."""
    from adaslide.adapters.db.ids import new_id
    from adaslide.domain.api_key import ApiKey
    from adaslide.ports.security import ApiKeyRecord

    if re.fullmatch(TENANT_PATTERN, tenant) is None:
        raise InputError("a tenant has 1 to 63 characters a-z, 0-9, '.', '_' and '-'")
    now = datetime.now(UTC)
    ends = None if expires is None else now + timedelta(days=expires)
    key = ApiKey.new(new_id())
    record = ApiKeyRecord(key.id, tenant, frozenset(role), key.digest, now, ends)
    with _database().write() as unit:
        unit.api_keys.add(record)
        unit.audit.append(_entry(record, "key.create"))
    if as_json:
        print_json(_row(record) | {"key": key.text})
    else:
        sys.stdout.write(f"{key.text}\n")
        console.print(f"key {key.id} of {escape(tenant)}: keep it, it is not shown again", highlight=False)


@keys_app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")] = None,
    as_json: Json = False,
) -> None:
    """The keys, newest first, without their secrets."""
    with _database().read() as unit:
        rows = [_row(key) for key in unit.api_keys.all(tenant)]
    if as_json:
        print_json(rows)
        return
    table = Table("id", "tenant", "roles", "state", "expires", "last used", box=None, pad_edge=False)
    for row in rows:
        cells = row["id"], row["tenant"], " ".join(row["roles"]), row["state"]
        table.add_row(*cells, *((row[name] or "never")[:16] for name in ("expires_at", "last_used_at")))
    Console().print(table, highlight=False)


@keys_app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="From `adaslide keys list`.")]) -> None:
    """End a key at once."""
    with _database().write() as unit:
        record = unit.api_keys.revoke(key_id, datetime.now(UTC))
        unit.audit.append(_entry(record, "key.revoke"))
    console.print(f"key {record.id} is revoked", highlight=False)


def _row(key: "ApiKeyRecord") -> dict[str, Any]:
    state = "revoked" if key.revoked_at else "valid" if key.valid(datetime.now(UTC)) else "expired"
    times = {
        name: None if at is None else at.isoformat(timespec="seconds")
        for name, at in (
            ("created_at", key.created_at),
            ("expires_at", key.expires_at),
            ("revoked_at", key.revoked_at),
            ("last_used_at", key.last_used_at),
        )
    }
    return {"id": key.id, "tenant": key.tenant, "roles": sorted(key.roles), "state": state, **times}


@audit_app.command("verify")
def verify(
    noted: Annotated[
        str | None, typer.Option("--noted", metavar="SEQ:HASH", help="A former end, kept elsewhere.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk the whole chain; exit 4 when a record was changed, removed or moved."""
    chain = _Chain(_database())
    problems = list(breaks(chain.records(), lambda: chain.head, _anchor(noted)))
    head = chain.head
    if as_json:
        end = f"{head.seq}:{head.hash}"
        print_json({"ok": not problems, "records": head.seq, "head": end, "problems": problems})
    else:
        for problem in problems:
            console.print(f"[red]broken[/red] {problem}", highlight=False)
        if not problems:
            console.print(
                f"[green]ok[/green] {head.seq} records, end {head.seq}:{head.hash}", highlight=False
            )
    if problems:
        sys.exit(EXIT_INTEGRITY)


@audit_app.command("export")
def export() -> None:
    """Every record of every tenant as JSON lines, oldest first."""
    for record in _Chain(_database()).records():
        sys.stdout.write(f"{canonical(record.as_dict())}\n")


def _anchor(text: str | None) -> AuditHead | None:
    if text is None:
        return None
    seq, _, digest = text.partition(":")
    if not seq.isdecimal() or len(digest) != 64:
        raise typer.BadParameter("an end is SEQ:HASH, as `adaslide audit verify` prints it")
    return AuditHead(int(seq), digest)


class _Chain:
    """The whole log, read while others go on writing it. ``head`` is its end where the walk ended."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self.head = GENESIS

    def records(self) -> "Iterator[AuditRecord]":
        from adaslide.ports.security import AuditFilter

        after = 0
        while True:
            with self._database.read() as unit:
                # The end before the page: were it read later, it could be one that the page does not show.
                self.head = unit.audit.head()
                found = unit.audit.oldest(AuditFilter(), PAGE, after)
            if not found:
                return
            yield from found
            after = found[-1].seq
