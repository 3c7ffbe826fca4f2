"""Sending a file over connections that break: tus 1.0.0."""

import base64
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import httpx

from adaslide.client.follow import Progress
from adaslide.client.transport import Transport
from adaslide.domain.errors import AdaSlideError, Conflict, InputError, Unavailable

BLOCK_BYTES = 1 << 18
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def begin(transport: Transport, file: Path) -> str:
    """The id of a new upload for ``file``. Of its name only the suffix is told: it may name a patient."""
    name = base64.b64encode(f"slide{file.suffix}".encode()).decode()
    headers = {"Upload-Length": str(file.stat().st_size), "Upload-Metadata": f"filename {name}"}
    answer = transport.send("POST", "/uploads", headers=TUS | headers)
    return answer.headers["Location"].rpartition("/")[2]


def send(transport: Transport, upload_id: str, file: Path, on_progress: Progress | None = None) -> None:
    """Sends what is missing of ``file``. Goes on where the service says that it stands when a connection
    breaks, as long as every `Transport.attempts` tries bring it further.

    Raises `InputError` when the upload is not of that size, what the service answers, and `Unavailable`.
    """
    path, size, tried, last = f"/uploads/{upload_id}", file.stat().st_size, 0, -1
    with file.open("rb") as opened:
        while True:
            answer = transport.send("HEAD", path, headers=TUS)
            offset = int(answer.headers["Upload-Offset"])
            if int(answer.headers["Upload-Length"]) != size:
                raise InputError("the upload is of another file")
            if on_progress is not None:
                on_progress(offset, size)
            if offset == size:
                return
            tried = tried + 1 if offset == last else 1
            if tried > transport.attempts:
                raise Unavailable("the upload does not go on")
            last = offset
            opened.seek(offset)
            try:
                _send_rest(transport.http, path, opened, offset, size)
            except (Unavailable, Conflict):
                # Conflict: what was sent before the connection broke is still being written.
                transport.pause(tried - 1)


def end(transport: Transport, upload_id: str) -> None:
    """Gives the upload up. Where that fails it expires."""
    with suppress(AdaSlideError):
        transport.send("DELETE", f"/uploads/{upload_id}", headers=TUS)


def _send_rest(http: httpx.Client, path: str, file: BinaryIO, offset: int, size: int) -> None:
    headers = {**PIECE, "Upload-Offset": str(offset), "Content-Length": str(size - offset)}
    Transport(http, 1).send("PATCH", path, headers=headers, content=_blocks(file, size - offset))


def _blocks(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length:
        block = file.read(min(BLOCK_BYTES, length))
        if not block:
            raise InputError("the file was cut while it was sent")
        length -= len(block)
        yield block
