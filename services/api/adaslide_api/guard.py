"""What stands before every request: who may speak to the service, how much it may send, what is logged.

Without users, being on this machine is the only credential, so a web page elsewhere must not borrow
it: the Host header is checked (DNS rebinding) and so is the Origin of whatever changes something.
"""

import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaslide.domain.errors import NotFound, SlideTooLarge
from adaslide.settings import Settings
from adaslide_api.errors import problem
from adaslide_api.tus import MEDIA_TYPE, is_upload

logger = logging.getLogger("adaslide_api.access")

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
JSON_BYTES = 1 << 20
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPENSEADRAGON_STYLE = "'sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE='"
"""The one style that OpenSeadragon 6.1.1 puts into its page."""
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {OPENSEADRAGON_STYLE}; "
    "img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._upload_bytes = settings.limits.upload_bytes
        # With users a request needs a credential that no other page has; else its Host is what tells it.
        own = {settings.serving.host} if settings.serving.loopback else set()
        self._hosts = None if settings.auth.required else LOOPBACK_NAMES | own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        started = time.perf_counter()
        status = 500

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await refusal(scope, receive, guarded_send)
            else:
                await self._app(scope, self._limited(scope, headers, receive), guarded_send)
        finally:
            # The route's pattern, not the path: a path may hold the caller's own name for a slide.
            route = getattr(scope.get("route"), "path", "-")
            took = 1000 * (time.perf_counter() - started)
            logger.info("%s %s %d %.0f ms", scope["method"], route, status, took)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return problem(421, "wrong-host", "this service answers to this machine's own names only")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            # No text in the database can hold it, and PostgreSQL refuses to be asked for it.
            return problem(404, NotFound.code, "nothing has such a name")
        origin = headers.get("origin")
        if scope["method"] not in SAFE_METHODS and origin is not None and urlsplit(origin).netloc != host:
            return problem(403, "wrong-origin", "a page of another site may not change anything here")
        return None

    def _limited(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        limit = self._upload_bytes if _is_streamed(scope, headers) else JSON_BYTES
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise SlideTooLarge(f"a request of this kind has at most {limit} bytes")
            return message

        return limited


def _is_streamed(scope: Scope, headers: Headers) -> bool:
    """Whether the route never holds the whole body in memory, so that it may be as large as a slide."""
    kind = headers.get("content-type", "")
    if scope["method"] == "PATCH":
        return is_upload(scope["path"]) and kind.startswith(MEDIA_TYPE)
    place = (scope["method"], scope["path"].count("/"))
    registers = place in (("POST", 1), ("PUT", 2)) and scope["path"].startswith("/slides")
    return registers and kind.startswith("multipart/form-data")


def _host_name(host: str) -> str:
    """``host`` without its port; an IPv6 address without its brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
