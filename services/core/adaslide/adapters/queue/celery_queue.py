"""The queue on Celery: on Redis, or in the embedded mode in this process's own memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amqp.exceptions import ChannelError
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from adaslide.domain.errors import BrokerUnavailable
from adaslide.observability.tracing import inject_headers
from adaslide.ports.queue import Message, Task
from adaslide.settings import Settings

IN_MEMORY = "memory://localhost//"
"""Kombu warns of a URL without a host."""

SOCKET_TIMEOUT_S = 5.0
POLLING_INTERVAL_S = 0.02
"""How often the memory transport looks for messages. Kombu's own default is a whole second."""


VISIBILITY_TIMEOUT_S = 3600
"""When Redis gives a message of a worker that died to another one. Nobody waits for it: the database hands
work out as soon as the dead worker's lease has run out."""
QUEUES = ("compress", "export")
EXPORTING = (Task.EXPORT, Task.NOTIFY)
"""What goes into the queue ``export``: it waits for others, while compressing keeps its processor busy."""


def queue_name(settings: Settings, queue: str) -> str:
    """``adaslide.compress``: several installations may share a broker."""
    return f"{settings.broker.queue}.{queue}"


def create_celery(settings: Settings) -> Any:
    """A Celery application that sends and consumes the tasks of `ports.queue`; keeps no results."""
    embedded = settings.broker.embedded
    app = Celery("adaslide", broker=IN_MEMORY if embedded else settings.broker.url, set_as_current=False)
    transport = (
        {"polling_interval": POLLING_INTERVAL_S}
        if embedded
        else {
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "socket_keepalive": True,
        }
    )
    app.conf.update(
        task_default_queue=queue_name(settings, "compress"),
        task_routes={task.value: {"queue": queue_name(settings, "export")} for task in EXPORTING},
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        broker_transport_options=transport,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        # Without these a worker inside another process takes over its logging and its stdout.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )
    return app


class CeleryQueue:
    """`TaskQueue`."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def send(self, message: Message) -> None:
        with _typed():
            self._app.send_task(
                message.task.value,
                args=list(message.args),
                ignore_result=True,
                retry=False,
                headers=inject_headers(),
            )

    def waiting(self, queue: str | None = None) -> int:
        queue = queue or self._app.conf.task_default_queue
        with _typed(), self._app.connection_for_write() as connection:
            try:
                return int(connection.default_channel.queue_declare(queue, passive=True).message_count)
            except ChannelError:  # nothing was ever sent
                return 0


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailable("the queue does not answer") from error
