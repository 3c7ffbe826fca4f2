"""What an S3 server and its client say, as errors of the tree. Messages name no key, bucket or endpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from s3transfer.exceptions import RetriesExceededError

from adaslide.domain.errors import (
    AdaSlideError,
    ChecksumMismatch,
    NotFound,
    StoreRefused,
    StoreUnavailable,
)

_REFUSALS = {
    "AccessDenied": "its policy does not allow this",
    "ExpiredToken": "the credentials have expired",
    "InvalidAccessKeyId": "it does not know the access key",
    "InvalidBucketName": "there is no such bucket",
    "NoSuchBucket": "there is no such bucket",
    "RequestTimeTooSkewed": "this machine's clock and its own differ",
    "SignatureDoesNotMatch": "the secret key is wrong",
}
_PASSING = {"BadDigest", "IncompleteBody", "NoSuchUpload", "RequestTimeout", "XAmzContentSHA256Mismatch"}
"""Answers of the 4xx kind after which the same request may succeed: it was damaged or cut on its way, or the
answer to an earlier attempt was lost."""
_PASSING_STATUS = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,  # another conditional write to the key is under way
    HTTPStatus.PRECONDITION_FAILED,  # the object was replaced while it was read
    HTTPStatus.TOO_MANY_REQUESTS,
}


@contextmanager
def s3_errors() -> Iterator[None]:
    """Turns what boto3 raises into `NotFound`, `ChecksumMismatch`, `StoreRefused`, `StoreUnavailable`."""
    try:
        yield
    except ClientError as error:
        raise _answered(*said(error)) from None
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError):
        raise StoreRefused("there are no credentials for the object store") from None
    except ParamValidationError:
        raise StoreRefused("the object store's bucket or prefix is not a valid one") from None
    except (BotoCoreError, Boto3Error, RetriesExceededError) as error:
        raise StoreUnavailable(f"the object store does not answer ({type(error).__name__})") from None


def said(error: ClientError) -> tuple[str, int]:
    """(code, HTTP status) of an answer; a HEAD has no body and its code is the status."""
    response: dict[str, Any] = error.response
    return (
        str(response.get("Error", {}).get("Code", "")),
        int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
    )


def _answered(code: str, status: int) -> AdaSlideError:
    if code in _PASSING or status in _PASSING_STATUS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StoreUnavailable(f"the object store failed ({status})")
    if code in _REFUSALS:
        return StoreRefused(f"the object store refuses: {_REFUSALS[code]}")
    if status == HTTPStatus.NOT_FOUND:
        return NotFound("no such object")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return ChecksumMismatch("an object ends before the bytes it should hold")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return StoreRefused("the object store refuses the credentials, or its policy does not allow this")
    return StoreRefused(f"the object store refuses the request ({status})")
