"""Plain records of what an OTLP export carried, decoded from its protobuf messages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Attributes = dict[str, object]
"""Decoded attribute values: str, bool, int, float, bytes, tuple, dict or None."""

_Point = NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint

_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES: Final = ("unset", "ok", "error")
_TEMPORALITIES: Final = ("unspecified", "delta", "cumulative")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedEvent:
    """A span event."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A span; ids in hex, times in nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    """internal, server, client, producer or consumer."""
    start_ns: int
    end_ns: int
    attributes: Attributes
    status: str
    """unset, ok or error."""
    status_message: str
    events: tuple[ReceivedEvent, ...]
    resource: Attributes
    scope: str
    """The name of the instrumentation scope."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedExemplar:
    """An exemplar of a metric point; the ids are None if it was recorded outside a span."""

    value: float
    time_ns: int
    trace_id: str | None
    span_id: str | None
    attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPoint:
    """One data point of a metric: a number has `value`, a histogram has `count`, `sum` and buckets."""

    metric: str
    unit: str
    kind: str
    """counter, updowncounter, gauge, histogram or exponential_histogram."""
    temporality: str | None
    """cumulative or delta; None for a gauge."""
    attributes: Attributes
    start_ns: int
    time_ns: int
    value: int | float | None = None
    count: int | None = None
    sum: float | None = None
    bounds: tuple[float, ...] = ()
    """Upper bounds of all buckets but the last; empty for an exponential histogram."""
    bucket_counts: tuple[int, ...] = ()
    exemplars: tuple[ReceivedExemplar, ...] = ()
    resource: Attributes
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedLog:
    """A log record; `event_name` is empty for one that is not an event."""

    time_ns: int
    observed_ns: int
    severity: str
    severity_number: int
    event_name: str
    body: object
    attributes: Attributes
    trace_id: str | None
    span_id: str | None
    resource: Attributes
    scope: str


def read_spans(request: ExportTraceServiceRequest) -> Iterator[ReceivedSpan]:
    """Every span of an export, in its order."""
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield _span(span, resource, scope.scope.name)


def read_points(request: ExportMetricsServiceRequest) -> Iterator[ReceivedPoint]:
    """Every data point of an export, in its order."""
    for group in request.resource_metrics:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                yield from _points(metric, resource, scope.scope.name)


def read_logs(request: ExportLogsServiceRequest) -> Iterator[ReceivedLog]:
    """Every log record of an export, in its order."""
    for group in request.resource_logs:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_logs:
            for record in scope.log_records:
                yield _log(record, resource, scope.scope.name)


def _span(span: Span, resource: Attributes, scope: str) -> ReceivedSpan:
    return ReceivedSpan(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_KINDS[span.kind],
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        status=_STATUSES[span.status.code],
        status_message=span.status.message,
        events=tuple(
            ReceivedEvent(name=event.name, time_ns=event.time_unix_nano, attributes=_attributes(event.attributes))
            for event in span.events
        ),
        resource=resource,
        scope=scope,
    )


def _points(metric: Metric, resource: Attributes, scope: str) -> Iterator[ReceivedPoint]:
    kind, temporality, points = _shape(metric)
    for point in points:
        received = ReceivedPoint(
            metric=metric.name,
            unit=metric.unit,
            kind=kind,
            temporality=temporality,
            attributes=_attributes(point.attributes),
            start_ns=point.start_time_unix_nano,
            time_ns=point.time_unix_nano,
            exemplars=tuple(_exemplar(exemplar) for exemplar in point.exemplars),
            resource=resource,
            scope=scope,
        )
        yield _measured(received, point)


def _shape(metric: Metric) -> tuple[str, str | None, Iterable[_Point]]:
    """Kind, temporality and points; nothing for a summary, which no OpenTelemetry SDK makes."""
    if metric.HasField("gauge"):
        return "gauge", None, metric.gauge.data_points
    if metric.HasField("sum"):
        kind = "counter" if metric.sum.is_monotonic else "updowncounter"
        return kind, _TEMPORALITIES[metric.sum.aggregation_temporality], metric.sum.data_points
    if metric.HasField("histogram"):
        histogram = metric.histogram
        return "histogram", _TEMPORALITIES[histogram.aggregation_temporality], histogram.data_points
    exponential = metric.exponential_histogram
    return "exponential_histogram", _TEMPORALITIES[exponential.aggregation_temporality], exponential.data_points


def _measured(received: ReceivedPoint, point: _Point) -> ReceivedPoint:
    """The record with what was measured."""
    if isinstance(point, NumberDataPoint):
        return replace(received, value=point.as_int if point.HasField("as_int") else point.as_double)
    if isinstance(point, HistogramDataPoint):
        bounds, buckets = tuple(point.explicit_bounds), tuple(point.bucket_counts)
        return replace(received, count=point.count, sum=point.sum, bounds=bounds, bucket_counts=buckets)
    return replace(received, count=point.count, sum=point.sum)


def _exemplar(exemplar: Exemplar) -> ReceivedExemplar:
    return ReceivedExemplar(
        value=exemplar.as_int if exemplar.HasField("as_int") else exemplar.as_double,
        time_ns=exemplar.time_unix_nano,
        trace_id=exemplar.trace_id.hex() or None,
        span_id=exemplar.span_id.hex() or None,
        attributes=_attributes(exemplar.filtered_attributes),
    )


def _log(record: LogRecord, resource: Attributes, scope: str) -> ReceivedLog:
    return ReceivedLog(
        time_ns=record.time_unix_nano,
        observed_ns=record.observed_time_unix_nano,
        severity=record.severity_text,
        severity_number=record.severity_number,
        event_name=record.event_name,
        body=_value(record.body),
        attributes=_attributes(record.attributes),
        trace_id=record.trace_id.hex() or None,
        span_id=record.span_id.hex() or None,
        resource=resource,
        scope=scope,
    )


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> object:
    if value.HasField("string_value"):
        return value.string_value
    if value.HasField("bool_value"):
        return value.bool_value
    if value.HasField("int_value"):
        return value.int_value
    if value.HasField("double_value"):
        return value.double_value
    if value.HasField("bytes_value"):
        return value.bytes_value
    if value.HasField("array_value"):
        return tuple(_value(item) for item in value.array_value.values)
    if value.HasField("kvlist_value"):
        return _attributes(value.kvlist_value.values)
    return None
