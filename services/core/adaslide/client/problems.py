"""Problem documents as the errors of `domain.errors`."""

from typing import Any

import httpx

from adaslide.domain.errors import (
    AdaSlideError,
    Conflict,
    Denied,
    InputError,
    NotFound,
    RestoredNotForPrimary,
    SlideTooLarge,
    Unauthenticated,
    Unavailable,
)

_BY_STATUS: dict[int, type[AdaSlideError]] = {
    401: Unauthenticated,
    403: Denied,
    404: NotFound,
    409: Conflict,
    413: SlideTooLarge,
    503: Unavailable,
    504: Unavailable,
}


def _tree(kind: type[AdaSlideError]) -> dict[str, type[AdaSlideError]]:
    found = {kind.code: kind}
    for sub in kind.__subclasses__():
        found |= _tree(sub)
    return found


def error_of(code: str | None, detail: str, status: int = 500, **more: Any) -> AdaSlideError:
    """The error with that ``code``; for one that this version does not know, that of its ``status``."""
    kind = _tree(AdaSlideError).get(code or "")
    if kind is None:
        kind = _BY_STATUS.get(status, InputError if 400 <= status < 500 else AdaSlideError)
    if kind is RestoredNotForPrimary:
        return RestoredNotForPrimary(detail, **more)
    error = kind(detail)
    error.more = more
    return error


def raise_for(response: httpx.Response) -> None:
    """Raises the error that an answer other than 2xx tells. Its body must have been read."""
    if response.status_code < 300:
        return
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    detail = body.pop("detail", f"the service answered {response.status_code}")
    code = body.pop("code", None)
    more = {name: value for name, value in body.items() if name not in ("type", "title", "status")}
    raise error_of(code, detail, response.status_code, **more)
