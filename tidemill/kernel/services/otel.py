"""Traces that are recorded: by OpenTelemetry's SDK, sent to a collector over OTLP.

Imported where traces are configured only: the packages come with `pip install tidemill[otel]`.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tidemill.kernel.services.traces import Span, Traces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.trace import Span as RecordedSpan

    from tidemill.kernel.services.traces import Attribute, Kind

_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
}
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_HEADER: Final = "traceparent"


class OtelSpan(Span):
    """A span of OpenTelemetry."""

    def __init__(self, recorded: RecordedSpan) -> None:
        self._recorded = recorded

    def set(self, name: str, value: Attribute) -> None:
        """Set an attribute."""
        self._recorded.set_attribute(name, value)

    def fail(self, what: str) -> None:
        """Set its status to an error."""
        self._recorded.set_status(StatusCode.ERROR, what)


class OtelTraces(Traces):
    """Records with a provider of spans, which is shut down in the end."""

    enabled = True

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("tidemill", version("tidemill"))

    @contextmanager
    def span(
        self, name: str, *, kind: Kind = "internal", parent: str | None = None, **attributes: Attribute
    ) -> Iterator[Span]:
        """Record what happens inside of the block as a span."""
        context = _PROPAGATOR.extract({_HEADER: parent}) if parent is not None else None
        facts = {key.replace("__", "."): value for key, value in attributes.items()}
        with self._tracer.start_as_current_span(
            name, context, _KINDS[kind], facts, record_exception=False, set_status_on_exception=False
        ) as recorded:
            try:
                yield OtelSpan(recorded)
            except Exception as error:
                recorded.record_exception(error)
                recorded.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def parent(self) -> str | None:
        """Return the present span as a `traceparent`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        return carrier.get(_HEADER)

    def close(self) -> None:
        """Send what is left, and stop."""
        self._provider.shutdown()


def otlp_traces(url: str, headers: Mapping[str, str], ratio: float, service: str) -> OtelTraces:
    """Return traces that go to a collector's address for OTLP over HTTP, in batches and in the background.

    Args:
        url: the whole address, like `http://127.0.0.1:4318/v1/traces`.
        headers: sent with every batch.
        ratio: the part of new traces that is recorded, 0 to 1; what came in decides for itself.
        service: what the process is called.
    """
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": service, "service.version": version("tidemill")}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(url, headers=dict(headers), timeout=5)))
    return OtelTraces(provider)
