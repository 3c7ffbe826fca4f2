"""tus 1.0.0, the protocol of uploads that can be taken up again: its headers. What they do is in `resumable`.

https://tus.io/protocols/resumable-upload
"""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, Header
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adaslide.domain.errors import InputError, ProtocolUnsupported

PATH = "/uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
MEDIA_TYPE = "application/offset+octet-stream"
_OVERRIDES = frozenset({"HEAD", "PATCH", "DELETE"})


class TusMiddleware:
    """ASGI middleware: what holds for every request below `PATH`, the refused ones as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_upload(scope["path"]):
            await self._app(scope, receive, send)
            return
        method = Headers(scope=scope).get("x-http-method-override", "").upper()
        # For callers whose proxies let nothing else through. Only from POST, which nobody takes for harmless.
        if scope["method"] == "POST" and method in _OVERRIDES:
            scope["method"] = method

        async def versioned_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        await self._app(scope, receive, versioned_send)


def is_upload(path: str) -> bool:
    """Whether ``path`` is `PATH` or below it."""
    return path == PATH or path.startswith(f"{PATH}/")


async def _spoken(
    version: Annotated[
        str | None, Header(alias="Tus-Resumable", json_schema_extra={"enum": [VERSION]})
    ] = None,
) -> None:
    if version != VERSION:
        raise ProtocolUnsupported(f"this service speaks tus {VERSION}: say so in Tus-Resumable")


TUS = Depends(_spoken)
"""The caller speaks the same version. Raises `ProtocolUnsupported`."""


def parse_metadata(header: str) -> dict[str, str]:
    """``Upload-Metadata``: keys and what they say, decoded. Raises `InputError`."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip(" ") for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            raise InputError("Upload-Metadata is pairs of a key and base64, with commas between") from None
    return found
