"""The tasks on the wire, each one call of the runner, in the trace of whoever asked for it."""

from collections.abc import Callable
from typing import Any

from adaslide.observability.logs import about
from adaslide.observability.tracing import extracted, span
from adaslide.ports.queue import Task
from adaslide_worker.runner import JobRunner


def register(app: Any, runner: JobRunner) -> None:
    """Gives the Celery application its tasks."""
    bodies: dict[Task, Callable[..., None]] = {
        Task.PLAN: runner.plan,
        Task.SHARD: runner.shard,
        Task.FINALIZE: runner.finalize,
        Task.SETTLE: runner.settle,
    }
    for task, body in bodies.items():
        app.task(observed(task, body), name=task.value, bind=True, shared=False)


def observed(task: Task, body: Callable[..., None]) -> Callable[..., None]:
    """``body`` as a bound task: its logs carry task, job and shard, its span is in the sender's trace."""

    def run(bound: Any, job_id: str, *place: int) -> None:
        shard = {"shard": ".".join(map(str, place))} if place else {}
        with (
            about(task=task.value, job=job_id, **shard),
            extracted(bound.request.headers),
            span(task.value, kind="consumer", **{"adaslide.job": job_id}),
        ):
            body(job_id, *place)

    return run
