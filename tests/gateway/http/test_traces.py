"""One trace from a webhook to its grandchild, checked in an exporter that keeps spans in memory."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.gateway.http.crew import ended, serving
from tidemill.context import Context
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.services import broker as opening
from tidemill.kernel.services.otel import OtelTraces
from tidemill.kernel.services.traces import Traces, traceparent
from tidemill.kernel.settings.model import Settings
from tidemill.retry import Abort
from tidemill.task import task

if TYPE_CHECKING:
    from conftest import House

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BODY = b'{"action":"opened","number":7}'


class Recorded:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    """What is recorded by those who open a broker from now on."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(opening, "open_traces", lambda *_: OtelTraces(provider))
    yield Recorded(exporter)
    provider.shutdown()


def above(span: ReadableSpan) -> str:
    """Return the id of the span that one belongs below."""
    return trace.format_span_id(span.parent.span_id) if span.parent is not None else ""


def own(span: ReadableSpan) -> str:
    return trace.format_span_id(span.context.span_id)


@pytest.mark.integration
async def test_a_webhook_its_run_its_steps_children_and_grandchildren_are_one_trace(
    spans: Recorded, house: House, signed: Callable[..., dict[str, str]]
) -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.append(trace.format_span_id(trace.get_current_span().get_span_context().span_id))

    @task
    async def grandchild(number: int) -> int:
        return number

    @task
    async def child(number: int, ctx: Context) -> int:  # noqa: ARG001 - with a context it may wait
        return await grandchild.call(number)

    @task(on="github.zen.opened")
    async def parent(data: dict[str, Any], ctx: Context) -> int:
        await ctx.step("look", look)
        return await child.call(int(data["number"]))

    async with serving(house, parent, child, grandchild):
        headers = signed(BODY, event="zen") | {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        url = f"http://{house.gateway.public_address}/webhooks/github"
        answer = await house.client.post(url, content=BODY, headers=headers)
        assert answer.status_code == 202, answer.text
        assert set((await ended(house, 3)).values()) == {"completed"}

    assert {trace.format_trace_id(span.context.trace_id) for span in spans.all()} == {TRACE}
    (request,), (step,) = spans.named("POST /webhooks"), spans.named("step look")
    assert above(request) == CALLER
    assert request.kind is trace.SpanKind.SERVER
    assert dict(request.attributes or {})["http.response.status_code"] == 202
    assert seen == [own(step)], "what a handler's own instrumentation records stands below its step"
    # A run that waits is executed more than once: each time is a span below what has started the run.
    parents, children = spans.named("run parent"), spans.named("run child")
    (last,) = spans.named("run grandchild")
    assert {above(span) for span in parents} == {own(request)}
    assert above(step) in {own(span) for span in parents}
    assert {above(span) for span in children} <= {own(span) for span in parents}
    assert above(last) in {own(span) for span in children}
    assert last.kind is trace.SpanKind.CONSUMER
    assert dict(last.attributes or {})["tidemill.task.id"] == "grandchild"


@pytest.mark.integration
async def test_a_trigger_hands_its_trace_on_and_a_failure_is_one(spans: Recorded, house: House) -> None:
    @task
    async def doomed(number: int) -> None:
        raise Abort(f"number {number}")

    async with serving(house, doomed):
        url = f"http://{house.gateway.control_address}/api/v1/tasks/doomed/trigger"
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        answer = await house.client.post(url, json={"payload": 7}, headers=headers)
        assert answer.status_code == 202, answer.text
        assert await ended(house, 1) == {"doomed": "failed"}
    (run,), (request,) = spans.named("run doomed"), spans.named("POST /api")
    assert (above(request), above(run)) == (CALLER, own(request))
    assert run.status.status_code is trace.StatusCode.ERROR
    assert run.status.description == "Abort: number 7"


@pytest.mark.integration
async def test_health_is_no_span_and_strangers_traces_begin_anew(spans: Recorded, house: House) -> None:
    root = f"http://{house.gateway.public_address}"
    await house.client.get(f"{root}/healthz")
    await house.client.post(f"{root}/webhooks/nobody", headers={"traceparent": "00-evil"})
    await house.client.post(f"{root}/what-strangers-ask-for")
    assert [(span.name, span.parent) for span in spans.all()] == [("POST /webhooks", None), ("POST /", None)]


def test_nothing_is_recorded_without_a_collector() -> None:
    traces = opening.open_traces(Settings.load(None, {}), "worker")
    assert type(traces) is Traces
    with traces.span("run", kind="consumer", parent="x", a=1) as span:
        span.set("b", 2)
        span.fail("c")
        assert traces.parent() is None
    traces.close()


class Collector(BaseHTTPRequestHandler):
    """Takes what is sent to it, as a collector does."""

    got: ClassVar[list[tuple[str, str | None, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((self.path, self.headers["x-team"], gzip_or_plain(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def gzip_or_plain(body: bytes) -> bytes:
    return gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body


def test_a_collector_gets_spans_with_its_headers_and_the_name_of_the_process() -> None:
    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        telemetry = {"traces_url": url, "headers": {"x-team": "env:TEAM"}}
        settings = Settings.load(None, {"TEAM": "mills"}, {"telemetry": telemetry})
        traces = opening.open_traces(settings, "worker")
        with traces.span("a piece of work"):
            assert traceparent(traces.parent()) == traces.parent()
        traces.close()
    ((path, team, body),) = Collector.got
    assert (path, team) == ("/v1/traces", "mills")
    assert b"a piece of work" in body
    assert b"tidemill-worker" in body


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tidemill.kernel.services.otel", None)
    environ = {"TIDEMILL_TELEMETRY__TRACES_URL": "http://127.0.0.1:9/v1/traces"}
    with pytest.raises(SettingsError, match="OpenTelemetry isn't installed") as raised:
        opening.open_traces(Settings.load(None, environ), "worker")
    assert "tidemill[otel]" in str(raised.value.hint)


@pytest.mark.parametrize(
    "text",
    [None, "", "00-evil", f"00-{TRACE.upper()}-{CALLER}-01", f"00-{TRACE}-{CALLER}-01\n", "0" * 10_000],
)
def test_a_malformed_traceparent_is_none(text: str | None) -> None:
    assert traceparent(text) is None
