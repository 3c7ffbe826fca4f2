"""What is measured and traced of every request: how long it took, by the pattern of its route."""

import re
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaslide.observability.metrics import Metrics
from adaslide.observability.tracing import extracted, span

UNROUTED = "-"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that are named; whatever else a caller makes up is one."""
QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds: not traced."""
_MADE = re.compile(r"\b(?:decode|restore);dur=([0-9.]+)")


class TelemetryMiddleware:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        if scope["path"] in QUIET:
            await self._measured(method, scope, receive, send)
            return
        sent = Headers(scope=scope)
        with extracted(sent), span(method, kind="server") as current:
            current.set_attribute("http.request.method", method)
            status = await self._measured(method, scope, receive, send)
            current.update_name(f"{method} {route_of(scope)}")
            current.set_attribute("http.route", route_of(scope))
            current.set_attribute("http.response.status_code", status)

    async def _measured(self, method: str, scope: Scope, receive: Receive, send: Send) -> int:
        """The status, once the request is answered and counted."""
        started, status, answered = time.perf_counter(), 500, 0.0
        headers = Headers()

        async def watched(message: Message) -> None:
            nonlocal status, answered, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], Headers(raw=message["headers"])
                answered = time.perf_counter()
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # Until the answer begins: how long it streams is the caller's affair.
            took = (answered or time.perf_counter()) - started
            self._metrics.request(method, route_of(scope), status, took)
            if "x-adaslide-provenance" in headers:
                self._pixels(headers.get("server-timing", ""), took)
        return status

    def _pixels(self, timing: str, took: float) -> None:
        made = _MADE.findall(timing)
        self._metrics.tile(took, cached=not made)
        if made:
            self._metrics.restored(sum(map(float, made)) / 1000)


def route_of(scope: Scope) -> str:
    """The pattern of the route that answered, never the path: a path may hold a caller's name for a slide."""
    return getattr(scope.get("route"), "path", UNROUTED)
