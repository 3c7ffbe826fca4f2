"""Whether a broker answers."""

from typing import Any

from kombu.exceptions import OperationalError

from adaslide.domain.errors import BrokerUnavailable

CONNECT_TIMEOUT_S = 2.0


def ping_broker(celery: Any) -> None:
    """Opens a connection of its own to the broker of ``celery``. Raises `BrokerUnavailable`.

    In the embedded mode the broker is this process, and always answers.
    """
    try:
        with celery.connection_for_write(connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_TIMEOUT_S)
            connection.default_channel  # noqa: B018 (Redis is spoken to only here)
    except (OperationalError, OSError) as error:
        raise BrokerUnavailable("the broker does not answer") from error
