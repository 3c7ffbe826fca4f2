"""Waking a worker. A message carries ids only: what is true stands in the database."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Task(StrEnum):
    """Names of the tasks on the wire. Stable."""

    PLAN = "adaslide.plan_job"
    SHARD = "adaslide.compress_shard"
    FINALIZE = "adaslide.finalize_job"
    EXPORT = "adaslide.export_job"
    NOTIFY = "adaslide.notify_caller"
    SETTLE = "adaslide.settle_job"
    CANARY = "adaslide.canary"

    @property
    def doorbell(self) -> bool:
        """It names no work: whoever hears it asks the database. One lost is rung again."""
        return self in (Task.SHARD, Task.CANARY)


@dataclass(frozen=True, slots=True)
class Message:
    """One call of a task. ``delay`` is seconds before it may run."""

    task: Task
    args: tuple[str | int, ...]
    delay: float = 0.0


class TaskQueue(Protocol):
    """Every task is idempotent: a message lost is sent again at start, one delivered twice does no harm."""

    def send(self, message: Message) -> None:
        """Raises `BrokerUnavailable`."""
        ...

    def waiting(self, queue: str | None = None) -> int:
        """Messages that no worker has taken yet from ``queue``, by its name on the wire, or from that of
        shards. Raises `BrokerUnavailable`."""
        ...
