"""The queue on Celery. In the embedded mode its broker is this process's own memory."""

from typing import Any

from celery import Celery
from kombu.exceptions import OperationalError

from adaslide.domain.errors import BrokerUnavailable
from adaslide.observability.tracing import inject_headers
from adaslide.ports.queue import Message
from adaslide.settings import Settings

IN_MEMORY = "memory://localhost//"
"""Kombu warns of a URL without a host."""

POLLING_INTERVAL_S = 0.02
"""How often the memory transport looks for messages. Kombu's own default is a whole second."""


def create_celery(settings: Settings) -> Any:
    """A Celery application that sends and consumes the tasks of `ports.queue`; keeps no results."""
    broker = IN_MEMORY if settings.broker.url == "memory://" else settings.broker.url
    app = Celery("adaslide", broker=broker, set_as_current=False)
    app.conf.update(
        task_default_queue=settings.broker.queue,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_transport_options={"polling_interval": POLLING_INTERVAL_S},
        broker_connection_retry_on_startup=True,
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
        try:
            self._app.send_task(
                message.task.value,
                args=list(message.args),
                countdown=message.delay or None,
                ignore_result=True,
                headers=inject_headers(),
            )
        except (OperationalError, OSError) as error:
            raise BrokerUnavailable("the queue does not answer") from error
