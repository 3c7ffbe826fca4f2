"""Traces: one request from the API over the queue to a worker and its store, as OpenTelemetry spans.

Off until `setup_tracing` finds a collector in the settings; off, `span` costs a look at one name and no
OpenTelemetry module is loaded. A span carries opaque ids and numbers; of an exception its type alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, Protocol

from adaslide.domain.errors import AdaSlideError
from adaslide.settings import Telemetry

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attribute = str | bool | int | float
EXPORT_TIMEOUT_S = 5


class Spanning(Protocol):
    """A span that is open, or what stands in its place while tracing is off."""

    def set_attribute(self, key: str, value: Attribute) -> None: ...

    def update_name(self, name: str) -> None: ...


class _Nothing:
    def set_attribute(self, key: str, value: Attribute) -> None: ...

    def update_name(self, name: str) -> None: ...


_OFF: AbstractContextManager[Spanning] = nullcontext(_Nothing())
_tracer: "Tracer | None" = None
"""A span is opened deep below whoever has read the settings, in the pipeline and in adapters, and belongs
to whatever runs there: it is the process's, as its logs are."""


class Tracing:
    """The sender of one process's spans; close it before the process ends, or the last ones are lost."""

    def __init__(self, provider: "TracerProvider | None") -> None:
        self._provider = provider

    def close(self) -> None:
        """Sends what is left and switches tracing off."""
        global _tracer
        if self._provider is not None:
            _tracer = None
            self._provider.shutdown()


def setup_tracing(settings: Telemetry, service_name: str) -> Tracing:
    """Sends the spans of this process to the collector of ``settings``, if it names one.

    A collector that does not answer costs spans, never a request.
    """
    global _tracer
    if settings.endpoint is None:
        return Tracing(None)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    release = version("adaslide")
    provider = TracerProvider(
        resource=Resource.create({"service.name": service_name, "service.version": release}),
        sampler=ParentBased(TraceIdRatioBased(settings.sample)),
    )
    exporter = OTLPSpanExporter(endpoint=f"{settings.endpoint}/v1/traces", timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    _tracer = provider.get_tracer("adaslide", release)
    return Tracing(provider)


def span(name: str, *, kind: Kind = "internal", **attributes: Attribute) -> AbstractContextManager[Spanning]:
    """A span from entering to leaving, below the one that is open. Names are few: ids are attributes."""
    return _OFF if _tracer is None else _open(_tracer, name, kind, attributes)


@contextmanager
def _open(tracer: "Tracer", name: str, kind: Kind, attributes: Mapping[str, Attribute]) -> Iterator["Span"]:
    from opentelemetry.trace import SpanKind, Status, StatusCode

    opened = tracer.start_as_current_span(
        name,
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        record_exception=False,  # its text may name a patient
        set_status_on_exception=False,
    )
    with opened as current:
        try:
            yield current
        except BaseException as error:
            code = error.code if isinstance(error, AdaSlideError) else type(error).__name__
            current.set_attribute("error.type", code)
            current.set_status(Status(StatusCode.ERROR))
            raise


def inject_headers() -> dict[str, str]:
    """The open span as W3C trace context, for the headers of a message; empty while tracing is off."""
    headers: dict[str, str] = {}
    if _tracer is not None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


@contextmanager
def extracted(headers: Mapping[str, object] | None) -> Iterator[None]:
    """What is opened inside belongs to the trace that `inject_headers` put into ``headers``, if it did."""
    if _tracer is None or not headers:
        yield
        return
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name: str(headers[name]) for name in ("traceparent", "tracestate") if headers.get(name)}
    token = context.attach(TraceContextTextMapPropagator().extract(carrier))
    try:
        yield
    finally:
        context.detach(token)


def current_ids() -> tuple[str | None, str | None]:
    """Trace and span id of the open span in hexadecimal, as logs and trace viewers write them; else None."""
    if _tracer is None:
        return None, None
    from opentelemetry.trace import get_current_span

    open_now = get_current_span().get_span_context()
    if not open_now.is_valid:
        return None, None
    return f"{open_now.trace_id:032x}", f"{open_now.span_id:016x}"
