"""Writes the audit log: one record a request that is worth it, before its answer goes out, unless it was
written together with what it tells of (`Trail.change`).

What cannot be recorded is not answered: the caller gets 503 and may ask again.
"""

import time
from collections import OrderedDict

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaslide.domain.audit import AuditEntry, Outcome
from adaslide.domain.errors import AdaSlideError
from adaslide.ports.jobs import Database
from adaslide_api.errors import problem, status_of
from adaslide_api.guard import HEADERS
from adaslide_api.trail import KEY, Trail

ONCE_S, ONCE_KEPT = 900.0, 4096
STRANGERS_A_MINUTE = 120
"""Denials of nobody in particular that are recorded: more of them say nothing more and fill the disk."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Auditor:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, database: Database) -> None:
        self._app = app
        self._database = database
        self._seen: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._minute, self._strangers = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trail = Trail()
        scope.setdefault("state", {})[KEY] = trail
        answered = failed = False

        async def recorded_send(message: Message) -> None:
            nonlocal answered, failed
            if message["type"] == "http.response.start":
                answered = True
                try:
                    await self._record(scope, trail, message["status"])
                except AdaSlideError as error:
                    failed = True
                    answer = problem(status_of(error), error.code, error.message)
                    answer.headers.update(HEADERS)
                    await answer(scope, receive, send)
            if not failed:
                await send(message)

        try:
            await self._app(scope, receive, recorded_send)
        except Exception:
            if not answered:
                await self._record(scope, trail, 500)
            raise

    async def _record(self, scope: Scope, trail: Trail, status: int) -> None:
        outcome = _outcome(status)
        if trail.action is None and outcome is not Outcome.DENIED:
            return
        if trail.written and outcome is Outcome.OK:
            return
        who = trail.principal
        if who is None and outcome is Outcome.DENIED and self._crowded():
            return
        told = _told(trail, outcome)
        if time.monotonic() - self._seen.get(told, -ONCE_S) < ONCE_S:
            return
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        # The route's pattern, not the path: a path may hold the caller's own name for a slide.
        action = trail.action or f"{method} {getattr(scope.get('route'), 'path', '-')}"
        entry = trail.entry(action, outcome)
        await to_thread.run_sync(self._append, entry)
        if told:
            self._seen[told] = time.monotonic()
            self._seen.move_to_end(told)
            if len(self._seen) > ONCE_KEPT:
                self._seen.popitem(last=False)

    def _append(self, entry: AuditEntry) -> None:
        with self._database.write() as unit:
            unit.audit.append(entry)

    def _crowded(self) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._strangers = minute, 0
        self._strangers += 1
        return self._strangers > STRANGERS_A_MINUTE


def _told(trail: Trail, outcome: Outcome) -> tuple[str, ...]:
    """What one record says of many requests alike; empty for a request that has a record of its own."""
    if not trail.once or outcome is not Outcome.OK or trail.principal is None:
        return ()
    objects = (f"{kind} {name}" for kind, name in sorted(trail.objects.items()))
    return (trail.principal.id, str(trail.action), *objects)


def _outcome(status: int) -> Outcome:
    if status < 400:
        return Outcome.OK
    if status in (401, 403):
        return Outcome.DENIED
    return Outcome.REFUSED if status < 500 else Outcome.FAILED
