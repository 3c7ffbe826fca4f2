"""Errors as RFC 9457 problem documents. One table says which status an error has."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from adaslide.domain import errors
from adaslide_api.problems import PROBLEM_TYPE
from adaslide_api.tus import VERSION

RETRY_AFTER_S = 2

STATUS: dict[type[errors.AdaSlideError], int] = {
    errors.SlideUnsupported: 415,
    errors.MediaTypeUnsupported: 415,
    errors.ProtocolUnsupported: 412,
    errors.SlideTooLarge: 413,
    errors.InputError: 422,
    errors.Unauthenticated: 401,
    errors.Denied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.RestoreTimeout: 504,
    errors.Unavailable: 503,
    errors.AdaSlideError: 500,
}
"""An error has the status of its nearest ancestor here."""

_HEADERS = {
    401: {"WWW-Authenticate": 'Bearer realm="adaslide"'},
    412: {"Tus-Version": VERSION},
    503: {"Retry-After": str(RETRY_AFTER_S)},
}
_FRAMEWORK_CODES = {404: "not-found", 405: "method-not-allowed", 413: "too-large", 415: "unsupported-format"}


def status_of(error: errors.AdaSlideError) -> int:
    """The HTTP status of ``error``."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    """A problem document; its ``type`` is a page of this service."""
    title = code.replace("-", " ").capitalize()
    body = {"type": f"/problems/{code}", "title": title, "status": status, "code": code, "detail": detail}
    headers = _HEADERS.get(status)
    return JSONResponse({**body, **more}, status, headers, media_type=PROBLEM_TYPE)


def install(app: FastAPI) -> None:
    """Makes every error of ``app``, the framework's own as well, a problem document."""
    app.add_exception_handler(errors.AdaSlideError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(Exception, _unexpected)


def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.AdaSlideError)
    return problem(status_of(error), error.code, error.message, **error.more)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Not the values: they may name a patient.
    wrong = [{"where": list(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
    return problem(422, errors.InputError.code, "the request does not have the form it needs", errors=wrong)


def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # a body that is no text at all
        return problem(422, errors.InputError.code, "the request does not have the form it needs")
    code = _FRAMEWORK_CODES.get(error.status_code, f"http-{error.status_code}")
    response = problem(
        error.status_code, code, HTTPStatus(error.status_code).description or str(error.detail)
    )
    response.headers.update(error.headers or {})
    return response


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    return problem(500, errors.AdaSlideError.code, "the service failed; its log says where")
