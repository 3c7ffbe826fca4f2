"""The tasks on the wire, each one call of the runner."""

from typing import Any

from adaslide.ports.queue import Task
from adaslide_worker.runner import JobRunner


def register(app: Any, runner: JobRunner) -> None:
    """Gives the Celery application its tasks."""
    bodies = {
        Task.PLAN: runner.plan,
        Task.SHARD: runner.shard,
        Task.FINALIZE: runner.finalize,
        Task.SETTLE: runner.settle,
        Task.CANARY: runner.canary,
    }
    for task, body in bodies.items():
        app.task(body, name=task.value, shared=False)
