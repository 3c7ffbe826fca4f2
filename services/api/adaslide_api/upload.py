"""Uploads, streamed from the wire to the data folder: never whole in memory, never in a temporary folder."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from adaslide.domain.errors import InputError, StoreUnavailable

_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
FIELD = "file"


def source_name(file_name: str) -> str:
    """``source`` with the suffix that readers look at. The caller's own name may name a patient."""
    suffix = Path(file_name).suffix.lower()
    return f"source{suffix}" if _SUFFIX.fullmatch(suffix) else "source"


class _FilePart:
    """Callbacks of the parser: finds the part called ``file`` and writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._field = b""
        self._value = b""
        self._disposition = b""
        self._file: BinaryIO | None = None
        self.name: str | None = None

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self.close,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._disposition = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode() or b"filename" not in options:
            return
        if self.name is not None:
            raise InputError("one upload holds one file")
        self.name = source_name(options[b"filename"].decode("utf-8", "replace"))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = (self._folder / self.name).open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])


async def receive_upload(request: Request, folder: Path) -> str:
    """Writes the upload's ``file`` into ``folder`` and returns its name there.

    Raises `InputError` for a body that is no such form, `StoreUnavailable` when the disk is full.
    What was written until then is the caller's to remove.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if not boundary:
        raise InputError("the upload has no boundary")
    part = _FilePart(folder)
    parser = MultipartParser(boundary, part.callbacks())  # type: ignore[arg-type]  # a TypedDict of all callbacks
    try:
        await _feed(parser, request.stream())
    except FormParserError as error:
        raise InputError("the upload is not a well-formed multipart/form-data") from error
    except OSError as error:
        raise StoreUnavailable("the upload cannot be written") from error
    finally:
        part.close()
    if part.name is None:
        raise InputError(f"the upload has no file called {FIELD!r}")
    return part.name


async def _feed(parser: MultipartParser, stream: AsyncIterator[bytes]) -> None:
    async for chunk in stream:
        if chunk:
            await to_thread.run_sync(parser.write, chunk)
    await to_thread.run_sync(parser.finalize)
