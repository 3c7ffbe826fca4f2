"""The audit log as a chain: each record's hash covers the record and the hash of the one before.

A record that was changed, removed, added or moved breaks the chain at its place. Ids only: nothing in
it names a patient.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

NOBODY = "-"
"""Principal and tenant of a request that did not say credibly whose it is."""


class Outcome(StrEnum):
    """How an action ended."""

    OK = "ok"
    DENIED = "denied"
    """Whoever asked is unknown or may not (401, 403)."""
    REFUSED = "refused"
    """The request could not be fulfilled as it was (other 4xx)."""
    FAILED = "failed"
    """The service failed (5xx)."""


@dataclass(frozen=True, slots=True)
class AuditHead:
    """Where the chain ends: the last record's number and hash."""

    seq: int
    hash: str


GENESIS = AuditHead(0, "0" * 64)
"""What stands before the first record."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that is to be remembered. ``objects``: what it was done to, kind to id."""

    tenant: str
    principal: str
    action: str
    outcome: Outcome
    objects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """An entry in its place. ``seq`` counts from 1 without a gap, over all tenants."""

    seq: int
    at: datetime
    entry: AuditEntry
    previous: str
    hash: str

    @classmethod
    def after(cls, head: AuditHead, at: datetime, entry: AuditEntry) -> "AuditRecord":
        """The record that follows ``head``."""
        return cls(head.seq + 1, at, entry, head.hash, _digest(head.seq + 1, at, entry, head.hash))

    @property
    def intact(self) -> bool:
        """Whether the hash is the record's own."""
        return self.hash == _digest(self.seq, self.at, self.entry, self.previous)

    def as_dict(self) -> dict[str, Any]:
        """As exported. Without ``hash`` it is, as canonical JSON, what the hash covers."""
        return {**_covered(self.seq, self.at, self.entry, self.previous), "hash": self.hash}


def canonical(value: Any) -> str:
    """JSON with sorted keys, no spaces, ASCII only: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _covered(seq: int, at: datetime, entry: AuditEntry, previous: str) -> dict[str, Any]:
    return {
        "seq": seq,
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "tenant": entry.tenant,
        "principal": entry.principal,
        "action": entry.action,
        "outcome": entry.outcome.value,
        "objects": dict(entry.objects),
        "previous": previous,
    }


def _digest(seq: int, at: datetime, entry: AuditEntry, previous: str) -> str:
    return hashlib.sha256(canonical(_covered(seq, at, entry, previous)).encode()).hexdigest()


def breaks(
    records: Iterable[AuditRecord], head: Callable[[], AuditHead], anchor: AuditHead | None = None
) -> Iterator[str]:
    """What is wrong with the chain ``records``: all of them, by ``seq``.

    ``head`` gives its recorded end, and is asked once the records have been walked.
    ``anchor`` is a former head that was noted elsewhere: it finds a chain that was written anew as a
    whole, which no chain can tell of itself.
    """
    last = GENESIS
    for record in records:
        if record.seq != last.seq + 1:
            yield f"record {record.seq} follows {last.seq}: records are missing or moved"
        elif record.previous != last.hash:
            yield f"record {record.seq} does not continue {last.seq}"
        if not record.intact:
            yield f"record {record.seq} was changed"
        if anchor is not None and record.seq == anchor.seq and record.hash != anchor.hash:
            yield f"record {record.seq} is not the one that was noted"
        last = AuditHead(record.seq, record.hash)
    end = head()
    if last != end:
        yield f"the chain ends with record {last.seq}, not with the {end.seq} that were written"
    if anchor is not None and anchor.seq > last.seq:
        yield f"record {anchor.seq}, which was noted, is gone"
