"""The conformance checker on metrics and events: good ones pass, and each rule catches one bad example."""

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricsData
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, SpanContext, set_span_in_context

from tests.conformance import violations

URL = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"
SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
RUN_SECONDS = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 1638.4, 3276.8, 7200]
IDENTITY = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}
DETAILS = "gen_ai.client.inference.operation.details"
FAULT = "gen_ai.client.operation.exception"


SPAN = SpanContext(1, 1, is_remote=False)


def log(
    attributes: Mapping[str, Any],
    name: str | None,
    severity: SeverityNumber | None = None,
    url: str = URL,
    span: SpanContext = SPAN,
) -> ReadableLogRecord:
    """One emitted log record from a real SDK, in the context of a span."""
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK forgot the annotation
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    inside = set_span_in_context(NonRecordingSpan(span))
    record = LogRecord(event_name=name, attributes=dict(attributes), severity_number=severity, context=inside)
    provider.get_logger("rlm_otel", "1", schema_url=url).emit(record)
    return exporter.get_finished_logs()[0]


def metric(
    instrument: str,
    name: str,
    unit: str,
    attributes: Mapping[str, Any],
    value: float = 1.0,
    buckets: list[float] | None = None,
) -> MetricsData | None:
    """One recorded point from a real SDK."""
    reader = InMemoryMetricReader()
    meter = MeterProvider(metric_readers=[reader]).get_meter("rlm_otel", "1", schema_url=URL)
    match instrument:
        case "counter":
            meter.create_counter(name, unit).add(value, dict(attributes))
        case "updowncounter":
            meter.create_up_down_counter(name, unit).add(value, dict(attributes))
        case "gauge":
            meter.create_gauge(name, unit).set(value, dict(attributes))
        case _:
            made = meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=buckets)
            made.record(value, dict(attributes))
    return reader.get_metrics_data()


def test_good_metrics_pass() -> None:
    """One of each instrument, from the conventions and our own."""
    server = {"server.address": "h", "server.port": 80}
    tokens = {"gen_ai.token.modality": "unknown", "openai.response.service_tier": "default"}
    label = {"rlm.outcome": "completed", "rlm.label.team": "search"}
    assert (
        violations(
            metrics=[
                metric("histogram", "gen_ai.client.inference.duration", "s", IDENTITY | server, 0.5, SECONDS),
                metric("counter", "gen_ai.client.inference.usage.input_tokens", "{token}", IDENTITY | tokens, 5),
                metric("histogram", "gen_ai.invoke_agent.duration", "s", {}, 3, RUN_SECONDS),
                metric("counter", "rlm.client.operations", "{call}", IDENTITY | label, 1),
                metric("updowncounter", "rlm.client.active", "{call}", IDENTITY, 1),
                metric("gauge", "rlm.client.oldest_active", "s", IDENTITY, 0.5),
                None,
            ]
        )
        == []
    )


def duration(
    unit: str = "s", attributes: Mapping[str, Any] = IDENTITY, buckets: list[float] = SECONDS
) -> MetricsData | None:
    """One point of the best known metric."""
    return metric("histogram", "gen_ai.client.inference.duration", unit, attributes, 0.5, buckets)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (metric("counter", "gen_ai.client.inference.duration", "s", IDENTITY), "a counter, not a histogram"),
        (duration("ms"), "unit 'ms', not 's'"),
        (duration(buckets=[1.0, 2.0]), "buckets [1.0, 2.0], not [0.01, 0.02"),
        (
            metric("histogram", "gen_ai.invoke_agent.duration", "s", {}, 3, RUN_SECONDS[:13]),
            "409.6, 819.2, 1638.4, 3276.8, 7200.0]",
        ),
        (
            metric("counter", "gen_ai.client.inference.usage.input_tokens", "{token}", IDENTITY, 5.0),
            "value 5.0 is float, not int",
        ),
        (metric("counter", "rlm.client.cost", "{USD}", IDENTITY, 1), "value 1 is int, not double"),
        (
            metric("counter", "gen_ai.client.inference.usage.input_tokens", "{token}", IDENTITY, 5),
            "gen_ai.token.modality is missing",
        ),
        (duration("s", IDENTITY | {"gen_ai.response.id": "r"}), "response.id: not declared here"),
        (duration("s", IDENTITY | {"rlm.outcome": "x"}), "rlm.outcome: only on metrics under"),
        (duration("s", IDENTITY | {"app.x": "x"}), "app.x: unknown name, and not under rlm."),
        (duration("s", IDENTITY | {"server.address": "h"}), "server.port is missing"),
        (
            metric("histogram", "gen_ai.client.operation.duration", "s", IDENTITY, 0.5, SECONDS),
            "inference is measured by gen_ai.client.inference.duration",
        ),
        (metric("counter", "llm.calls", "1", {}), "not a metric of the conventions, and not under rlm."),
        (metric("histogram", "gen_ai.client.token.usage", "{token}", IDENTITY, 5), "not a metric of the conventions"),
        (metric("counter", "rlm.surprise", "1", {}), "not in the table of our own metrics"),
        (
            metric("counter", "rlm.client.operations", "{call}", {"server.address": "h", "server.port": 1}, 1),
            "server.address: not declared here",
        ),
        (metric("counter", "rlm.client.operations", "{call}", {"rlm.run.id": "7"}, 1), "rlm.run.id: not declared here"),
    ],
)
def test_a_bad_metric_is_caught(bad: MetricsData, problem: str) -> None:
    """Instrument, unit, value type, buckets and attributes."""
    assert problem in " | ".join(violations(metrics=[bad]))


def test_older_metrics_pass_only_where_they_were_asked_for() -> None:
    """The compatibility switch records the older names, held against their own definitions."""
    buckets = [4.0**power for power in range(14)]
    kind = {"gen_ai.token.type": "input"}
    older = [
        metric("histogram", "gen_ai.client.token.usage", "{token}", IDENTITY | kind, 5, buckets),
        metric("histogram", "gen_ai.client.operation.duration", "s", IDENTITY, 0.5, SECONDS),
    ]
    assert violations(metrics=older, legacy=True) == []
    wrong = metric(
        "histogram", "gen_ai.client.token.usage", "{token}", IDENTITY | {"gen_ai.token.type": "x"}, 5, buckets
    )
    assert violations(metrics=[wrong], legacy=True) == [
        "metric 'gen_ai.client.token.usage': gen_ai.token.type: 'x' is not one of ['input', 'output']"
    ]


def test_good_events_pass() -> None:
    """The details with structured content, an exception, an evaluation, and one of our own."""
    messages = {"gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "привет"}]}]}
    logs = [
        log(IDENTITY | {"rlm.outcome": "completed"} | messages, DETAILS, SeverityNumber.DEBUG),
        log({"exception.type": "E"} | IDENTITY, FAULT, SeverityNumber.WARN),
        log({"gen_ai.evaluation.name": "helpful", "gen_ai.evaluation.score.value": 1.0}, "gen_ai.evaluation.result"),
        log({"rlm.hook": "on_token"}, "rlm.callback.failure"),
    ]
    assert violations(logs=logs) == []


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (log({"hook": "x"}, "rlm.callback.failure"), "hook: unknown name, and not under rlm."),
        (log({}, "rlm.callback.failure", url="x"), f"schema_url is 'x', not {URL!r}"),
        (log({}, "gen_ai.choice"), "not an event of the conventions, and not under rlm."),
        (log({}, None), "not an event of the conventions, and not under rlm."),
        (log(IDENTITY, DETAILS, SeverityNumber.INFO), "severity 9, not 5"),
        (log({"gen_ai.operation.name": "chat"}, DETAILS, SeverityNumber.DEBUG), "gen_ai.provider.name is missing"),
        (
            log(IDENTITY | {"gen_ai.tool.name": "x"}, DETAILS, SeverityNumber.DEBUG),
            "gen_ai.tool.name: not declared here",
        ),
        (
            log(IDENTITY | {"gen_ai.input.messages": "[]"}, DETAILS, SeverityNumber.DEBUG),
            "gen_ai.input.messages: structured on events, not a string",
        ),
        (log(IDENTITY, DETAILS, SeverityNumber.DEBUG, span=INVALID_SPAN_CONTEXT), "belongs to no span"),
        (log({"exception.type": "E"}, "rlm.operation.exception", span=INVALID_SPAN_CONTEXT), "belongs to no span"),
        (log({}, FAULT, SeverityNumber.WARN), "neither exception.type nor exception.message"),
        (
            log({"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.value": 1}, "gen_ai.evaluation.result"),
            "gen_ai.evaluation.score.value: 1 is int, not double",
        ),
    ],
)
def test_a_bad_event_is_caught(bad: ReadableLogRecord, problem: str) -> None:
    """Event name, severity, required and declared attributes, structured content."""
    assert problem in " | ".join(violations(logs=[bad]))
