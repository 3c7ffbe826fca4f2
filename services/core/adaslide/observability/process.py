"""One process, observed: its logs, its traces, and its port for Prometheus and for probes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from adaslide.observability.logs import setup_logs
from adaslide.observability.metrics import Metrics
from adaslide.observability.readiness import Readiness
from adaslide.observability.server import metrics_server
from adaslide.observability.tracing import setup_tracing
from adaslide.settings import Settings


@contextmanager
def observed_process(
    settings: Settings, service_name: str, metrics: Metrics, readiness: Readiness | None = None
) -> Iterator[int | None]:
    """Everything that the settings ask for, until left; gives the port for metrics, None where none is set.

    ``service_name`` is what traces call the process. Raises `Unavailable` when the port is taken.
    """
    setup_logs(settings.telemetry)
    metrics.watch_disk(settings.data_dir)
    with ExitStack() as stack:
        stack.callback(setup_tracing(settings.telemetry, service_name).close)
        chosen = settings.metrics
        yield (
            None
            if chosen.port is None
            else stack.enter_context(metrics_server(chosen.port, chosen.host, metrics, readiness))
        )
