"""Logs: one JSON object per line, plain text on a terminal, and no patient data in either.

What our own code logs holds opaque ids only (a test reads its calls). Other libraries know nothing of
patients and put whatever they were given into their records: a path in an exception, a URL in an access
line. Of theirs the template is written without its arguments, of every exception the type and the places
it passed, never its text.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from adaslide.domain.errors import AdaSlideError
from adaslide.observability.tracing import current_ids
from adaslide.settings import Telemetry

OWN = ("adaslide", "adaslide_api", "adaslide_worker")
ACCESS = "adaslide_api.access"
TRUSTED = (*OWN, "uvicorn.error", "celery.worker.consumer", "kombu", "opentelemetry")
"""Loggers whose arguments are ours, or addresses of servers and the like."""
FIELDS = ("job", "shard", "task", "slide", "package", "tenant", "principal")
"""What a record may carry besides its message, by `about` or by ``extra``: opaque ids."""
WITHHELD = "(withheld)"
FRAMES = 6

_OPAQUE = re.compile(r"[A-Za-z0-9_.:@-]{1,64}", re.ASCII)
_about: ContextVar[dict[str, str]] = ContextVar("adaslide_about")


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Everything logged inside carries ``fields``, of `FIELDS`; a value that is no opaque id is withheld."""
    token = _about.set({**_about.get({}), **{name: str(value) for name, value in fields.items()}})
    try:
        yield
    finally:
        _about.reset(token)


def setup_logs(settings: Telemetry, stream: TextIO | None = None) -> logging.Handler:
    """Sends every record of this process to ``stream`` (standard error), instead of where it went before."""
    stream = stream or sys.stderr
    text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in OWN:
        logging.getLogger(name).setLevel(settings.log_level)
    # A person before a terminal does not want a line for each tile of a viewer.
    logging.getLogger(ACCESS).setLevel(logging.WARNING if text else logging.NOTSET)
    return handler


class JsonFormatter(logging.Formatter):
    """One JSON object per record."""

    def format(self, record: logging.LogRecord) -> str:
        trace, span = current_ids()
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": message_of(record),
            "trace_id": trace,
            "span_id": span,
            **_fields(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = error_of(record.exc_info[1])
        return json.dumps({name: value for name, value in line.items() if value is not None})


class TextFormatter(logging.Formatter):
    """For people: one line, and the places of an exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = f"{at} {record.levelname} {record.name}: {message_of(record)}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            error = error_of(record.exc_info[1])
            text += "\n  " + "\n  ".join([error["type"], *error["places"]])
        return text


def message_of(record: logging.LogRecord) -> str:
    """The message of our own records; of others the first line of their template."""
    if _below(record.name, TRUSTED):
        return record.getMessage()
    return str(record.msg).partition("\n")[0] if record.args else _first_words(record)


def _first_words(record: logging.LogRecord) -> str:
    # Without arguments the text may have been put together beforehand (asyncio shows a task with its
    # exception below the first line); up to the first value, it is still the library's own words.
    line = str(record.msg).partition("\n")[0]
    return re.split(r"[:='\"/<(\[]", line, maxsplit=1)[0].strip() or WITHHELD


def error_of(error: BaseException) -> dict[str, Any]:
    """Type and places of ``error``, innermost last; the code of one of ours, whose text names no patient."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    found: dict[str, Any] = {
        "type": type(error).__name__,
        "places": [
            f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno} {frame.name}" for frame in frames
        ],
    }
    if isinstance(error, AdaSlideError):
        found["code"] = error.code
    return found


def _fields(record: logging.LogRecord) -> dict[str, str]:
    given = {**_about.get({}), **{name: record.__dict__[name] for name in FIELDS if name in record.__dict__}}
    return {
        name: text if _OPAQUE.fullmatch(text := str(given[name])) else WITHHELD
        for name in FIELDS
        if given.get(name) is not None
    }


def _below(name: str, loggers: tuple[str, ...]) -> bool:
    return any(name == logger or name.startswith(f"{logger}.") for logger in loggers)
