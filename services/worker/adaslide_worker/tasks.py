"""The tasks on the wire, each one call of the runner, in the trace of whoever asked for it."""

from collections.abc import Callable
from typing import Any

from adaslide.observability.logs import about
from adaslide.observability.tracing import extracted, span
from adaslide.ports.queue import Task
from adaslide_worker.export_job import ExportJobs
from adaslide_worker.hearing import Hearing
from adaslide_worker.notify import Notifier
from adaslide_worker.runner import JobRunner


def register(app: Any, runner: JobRunner, exports: ExportJobs, notifier: Notifier, hearing: Hearing) -> None:
    """Gives the Celery application its tasks."""
    bodies: dict[Task, Callable[..., None]] = {
        Task.PLAN: runner.plan,
        Task.SHARD: runner.shard,
        Task.FINALIZE: runner.finalize,
        Task.SETTLE: runner.settle,
        Task.EXPORT: exports.export,
        Task.NOTIFY: notifier.notify,
        Task.CANARY: runner.canary,
    }
    for task, body in bodies.items():
        app.task(observed(task, body, hearing), name=task.value, bind=True, shared=False)


def observed(task: Task, body: Callable[..., None], hearing: Hearing) -> Callable[..., None]:
    """``body`` as a bound task: its logs carry task, job and shard, its span is in the sender's trace."""

    def run(bound: Any, *arguments: str | int) -> None:
        fields = {"job": arguments[0]} if arguments else {}
        if arguments[1:]:
            fields["shard"] = ".".join(map(str, arguments[1:]))
        attributes = {f"adaslide.{name}": value for name, value in fields.items()}
        with (
            hearing.task(),
            about(task=task.value, **fields),
            extracted(bound.request.headers),
            span(task.value, kind="consumer", **attributes),
        ):
            body(*arguments)

    return run
