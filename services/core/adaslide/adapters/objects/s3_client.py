"""A client of the S3 server that the settings name."""

from typing import Any

from boto3.session import Session
from botocore.config import Config

from adaslide.domain.errors import InputError
from adaslide.settings import Store

CONNECT_S, READ_S = 5.0, 20.0
"""Seconds to wait for a connection, and for the next bytes of an answer."""
ATTEMPTS = 3
CONNECTIONS = 32
"""Kept open by a process: its threads read tiles at the same time."""


def s3_client(
    store: Store, *, connect_s: float = CONNECT_S, read_s: float = READ_S, attempts: int = ATTEMPTS
) -> Any:
    """A boto3 client, safe for threads; a forked process needs one of its own.

    A request fails after ``attempts`` times ``connect_s`` + ``read_s`` without a byte, and boto3's pauses
    (1 and 2 s at most). Raises `InputError` for one key without the other.
    """
    if (store.access_key is None) != (store.secret_key is None):
        raise InputError("an access key and a secret key belong together")
    keys = {}
    if store.access_key is not None and store.secret_key is not None:
        keys = {
            "aws_access_key_id": store.access_key.get_secret_value(),
            "aws_secret_access_key": store.secret_key.get_secret_value(),
        }
    config = Config(
        connect_timeout=connect_s,
        read_timeout=read_s,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=CONNECTIONS,
        # boto3's own checksums come as trailers that not every server knows; ours are sent as headers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # A server of one's own seldom has a name for each bucket.
        s3={"addressing_style": "path" if store.endpoint else "auto"},
        signature_version="s3v4",
    )
    return Session().client(
        "s3", endpoint_url=store.endpoint, region_name=store.region, config=config, **keys
    )


def encryption_of(store: Store) -> dict[str, str]:
    """What every write asks for, as arguments of boto3."""
    asked: dict[str, str] = {}
    if store.encryption is not None:
        asked["ServerSideEncryption"] = store.encryption
    if store.kms_key is not None:
        asked["SSEKMSKeyId"] = store.kms_key.get_secret_value()
    return asked
