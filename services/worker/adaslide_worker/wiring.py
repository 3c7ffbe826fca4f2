"""Where a worker's parts meet."""

import os
import socket
from functools import partial
from uuid import uuid4

from adaslide import probes
from adaslide.adapters.webhooks.sender import HttpWebhookSender
from adaslide.backend import Backend
from adaslide.observability.readiness import Probe
from adaslide.settings import Settings
from adaslide_worker.compute import Compute
from adaslide_worker.export_job import ExportJobs
from adaslide_worker.nets import check_extra, net_processes
from adaslide_worker.notify import Notifier
from adaslide_worker.reconciler import Reconciler
from adaslide_worker.runner import JobRunner

HOST_CHARACTERS = 40


def holder_name() -> str:
    """Who this process is in leases: its machine, its number, and eight digits that no other has."""
    return f"{socket.gethostname()[:HOST_CHARACTERS]}:{os.getpid()}:{uuid4().hex[:8]}"


def build_compute(settings: Settings) -> Compute:
    """The heavy part. Raises `InputError` where the settings ask for torch and it is not installed."""
    rules = settings.compression
    if rules.runtime == "onnx":
        return Compute(rules.workers)
    check_extra()
    return Compute(rules.workers, partial(net_processes, rules.device))


def build_runner(backend: Backend, compute: Compute, holder: str) -> JobRunner:
    """The bodies of the tasks on ``backend``."""
    rules = backend.settings.compression
    return JobRunner(backend.database, backend.workspace, compute, rules, backend.metrics, holder)


def build_exports(backend: Backend, runner: JobRunner) -> ExportJobs:
    """What restores files on ``backend``; see `ExportJobs`."""
    settings = backend.settings
    folder = settings.data_dir / "exporting"
    return ExportJobs(runner, backend.database, backend.workspace, settings.compression, folder)


def build_notifier(backend: Backend, holder: str) -> Notifier:
    """What tells callers how their jobs ended."""
    settings = backend.settings.webhooks
    return Notifier(backend.database, HttpWebhookSender(settings), settings, holder)


def build_reconciler(backend: Backend, holder: str) -> Reconciler:
    """What finds lost work on ``backend``."""
    rules = backend.settings.compression
    return Reconciler(backend.database, backend.queue, backend.workspace, rules, holder)


def build_probes(backend: Backend) -> list[Probe]:
    """What ``/readyz`` of an API and of a worker looks at, workers aside."""
    return [
        probes.database_probe(backend.database),
        probes.broker_probe(backend.celery),
        probes.store_probe(backend.workspace.store),
        probes.weights_probe(),
        probes.golden_probe(),
    ]
