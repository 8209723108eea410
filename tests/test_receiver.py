"""The embedded receiver shows, as plain records, what a real OTLP exporter sent to it."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from rlm_otel.received import ReceivedEvent
from rlm_otel.receiver import Receiver

RESOURCE = Resource({"service.name": "тест"})


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver(request.param) as receiver:
        yield receiver


def span_exporter(receiver: Receiver, timeout_s: float = 5) -> SpanExporter:
    if receiver.protocol == "grpc":
        return GrpcSpanExporter(endpoint=receiver.endpoint, timeout=timeout_s)
    return OTLPSpanExporter(endpoint=f"{receiver.endpoint}/v1/traces", timeout=timeout_s)


def metric_exporter(receiver: Receiver) -> MetricExporter:
    if receiver.protocol == "grpc":
        return GrpcMetricExporter(endpoint=receiver.endpoint, timeout=5)
    return OTLPMetricExporter(endpoint=f"{receiver.endpoint}/v1/metrics", timeout=5)


def export_spans(exporter: SpanExporter, record: Callable[[trace.Tracer], None]) -> None:
    """Send what `record` does with a tracer; returns when the exporter is done."""
    provider = TracerProvider(resource=RESOURCE)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    record(provider.get_tracer("scope"))
    provider.shutdown()


def one_span(tracer: trace.Tracer) -> None:
    tracer.start_span("chat").end()


def test_spans_arrive_with_everything_that_was_set(receiver: Receiver) -> None:
    """Ids, times, kind, status, events, resource and decoded attributes of parent and child are all there."""

    def record(tracer: trace.Tracer) -> None:
        root = tracer.start_span("run", start_time=1_000)
        child = tracer.start_span(
            "chat 🙂", context=trace.set_span_in_context(root), kind=trace.SpanKind.CLIENT, start_time=2_000
        )
        child.set_attributes({"text": "Привет", "count": 3, "share": 0.5, "yes": True, "list": ["a", "b"]})
        child.add_event("retry", {"attempt": 1}, timestamp=2_500)
        child.set_status(trace.StatusCode.ERROR, "не вышло")
        child.end(3_000)
        root.end(4_000)

    export_spans(span_exporter(receiver), record)

    chat, run = receiver.spans()
    assert (run.name, run.kind, run.parent_id, run.status) == ("run", "internal", None, "unset")
    assert (chat.name, chat.kind, chat.parent_id, chat.trace_id) == ("chat 🙂", "client", run.span_id, run.trace_id)
    assert (len(run.trace_id), len(run.span_id)) == (32, 16)
    assert (chat.start_ns, chat.end_ns) == (2_000, 3_000)
    assert chat.attributes == {"text": "Привет", "count": 3, "share": 0.5, "yes": True, "list": ("a", "b")}
    assert chat.events == (ReceivedEvent(name="retry", time_ns=2_500, attributes={"attempt": 1}),)
    assert (chat.status, chat.status_message) == ("error", "не вышло")
    assert (chat.resource, chat.scope) == ({"service.name": "тест"}, "scope")


def test_points_of_every_instrument_arrive(receiver: Receiver) -> None:
    """A counter, an up-down counter, a gauge and a histogram are told apart, with exemplars linked to the span."""
    reader = PeriodicExportingMetricReader(metric_exporter(receiver), export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=RESOURCE)
    meter = provider.get_meter("scope")
    span = TracerProvider().get_tracer("t").start_span("chat")
    calls = meter.create_counter("calls", unit="{call}")
    calls.add(2, {"model": "m"})
    meter.create_up_down_counter("active", unit="{call}").add(-1)
    meter.create_gauge("left", unit="{token}").set(7.5)
    duration = meter.create_histogram("duration", unit="s", explicit_bucket_boundaries_advisory=[1.0, 5.0])
    duration.record(2.0, context=trace.set_span_in_context(span))
    provider.force_flush()
    calls.add(3, {"model": "m"})
    calls.add(1, {"model": "other"})
    provider.shutdown()

    assert [p.value for p in receiver.points() if p.metric == "calls"] == [2, 5, 1]
    latest = receiver.latest_points()
    assert [(p.metric, p.kind, p.unit, p.temporality, p.attributes, p.value) for p in latest] == [
        ("calls", "counter", "{call}", "cumulative", {"model": "m"}, 5),
        ("active", "updowncounter", "{call}", "cumulative", {}, -1),
        ("left", "gauge", "{token}", None, {}, 7.5),
        ("duration", "histogram", "s", "cumulative", {}, None),
        ("calls", "counter", "{call}", "cumulative", {"model": "other"}, 1),
    ]
    histogram = next(point for point in receiver.points() if point.metric == "duration")
    assert (histogram.count, histogram.sum) == (1, 2.0)
    assert (histogram.bounds, histogram.bucket_counts) == ((1.0, 5.0), (0, 1, 0))
    assert [(e.value, e.trace_id, e.span_id) for e in histogram.exemplars] == [
        (2.0, f"{span.get_span_context().trace_id:032x}", f"{span.get_span_context().span_id:016x}")
    ]


def test_logs_arrive() -> None:
    """A log event is a record with its name, severity, body and the ids of its span."""
    with Receiver() as receiver:
        provider = LoggerProvider(resource=RESOURCE)
        provider.add_log_record_processor(
            SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{receiver.endpoint}/v1/logs"))
        )
        span = TracerProvider().get_tracer("t").start_span("chat")
        provider.get_logger("scope").emit(
            LogRecord(
                timestamp=5,
                context=trace.set_span_in_context(span),
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                event_name="gen_ai.exception",
                body={"why": ["сеть"]},
                attributes={"a": 1},
            )
        )
        provider.shutdown()

    (log,) = receiver.logs()
    assert (log.time_ns, log.severity, log.severity_number) == (5, "WARN", 13)
    assert (log.event_name, log.body, log.attributes) == ("gen_ai.exception", {"why": ("сеть",)}, {"a": 1})
    assert log.span_id == f"{span.get_span_context().span_id:016x}"
    assert (log.resource, log.scope) == ({"service.name": "тест"}, "scope")


@pytest.mark.parametrize("compression", [Compression.Gzip, Compression.Deflate])
def test_compressed_exports_are_read(compression: Compression) -> None:
    """The receiver unpacks what an exporter compressed, and shows the headers it came with."""
    with Receiver() as receiver:
        exporter = OTLPSpanExporter(
            endpoint=f"{receiver.endpoint}/v1/traces", compression=compression, headers={"X-Tenant": "a"}
        )
        export_spans(exporter, one_span)
        (export,) = receiver.exports()

    assert [span.name for span in receiver.spans()] == ["chat"]
    assert (export.signal, export.status) == ("traces", 200)
    assert (export.headers["content-encoding"], export.headers["x-tenant"]) == (compression.value, "a")


@pytest.mark.parametrize("status", [400, 404, 503])
def test_refused_exports_are_noted_but_not_kept(receiver: Receiver, status: int) -> None:
    """With a status set the exporter is told so; once it is 200 again exports are kept."""
    span = TracerProvider().get_tracer("t").start_span("chat")
    span.end()
    assert isinstance(span, ReadableSpan)
    exporter = span_exporter(receiver, timeout_s=0.5)  # too short for the pause before a second attempt
    receiver.status = status
    assert exporter.export([span]) is SpanExportResult.FAILURE
    assert ([e.status for e in receiver.exports()], receiver.spans()) == ([status], ())

    receiver.status = 200
    assert exporter.export([span]) is SpanExportResult.SUCCESS
    assert ([e.status for e in receiver.exports()], len(receiver.spans())) == ([status, 200], 1)
    exporter.shutdown()


def test_wait_for_gives_up() -> None:
    """A predicate that does not come true in time is False, not an error."""
    with Receiver() as receiver:
        assert receiver.wait_for(lambda it: bool(it.spans()), timeout_s=0.01) is False


def test_close_does_not_wait_for_a_slow_answer(receiver: Receiver) -> None:
    """A receiver that takes a minute to answer still closes at once."""
    receiver.delay_s = 60
    exporter = span_exporter(receiver)
    sending = threading.Thread(target=export_spans, args=(exporter, one_span))
    sending.start()
    assert receiver.wait_for(lambda it: it.waiting == 1)
    started = time.monotonic()
    receiver.close()
    exporter.shutdown()
    sending.join()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("path", "content_type", "body", "status"),
    [
        ("/v1/trace", "application/x-protobuf", b"", 404),
        ("/v1/traces", "application/json", b"{}", 415),
        ("/v1/traces", "application/x-protobuf", b"\xff\xff", 400),
    ],
)
def test_what_is_not_otlp_is_refused(path: str, content_type: str, body: bytes, status: int) -> None:
    """A wrong path, JSON and rubbish get the status that a collector gives."""
    with Receiver() as receiver:
        request = urllib.request.Request(receiver.endpoint + path, body, {"content-type": content_type})
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        refused.value.close()
    assert refused.value.code == status


def test_an_unknown_protocol_is_refused() -> None:
    """The error lists what would do."""
    with pytest.raises(ValueError, match=r"protocol='http/json' is not known; use one of: http/protobuf, grpc\."):
        Receiver("http/json")  # type: ignore[arg-type]  # the mistake under test


def test_an_endpoint_needs_a_started_receiver() -> None:
    """Asking for the address too early says what to do."""
    with pytest.raises(RuntimeError, match="use `with Receiver"):
        _ = Receiver().endpoint
