"""Reads the OpenTelemetry SDK's objects into plain records."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, cast

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics.export import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from rlm_otel.testing.captured import CapturedEvent, CapturedLog, CapturedSpan, Exemplar, Point

_Key = tuple[tuple[str, object], ...]


def read_span(span: ReadableSpan) -> CapturedSpan:
    """An ended span."""
    context = span.get_span_context()
    assert context is not None, "an ended span has a context"
    return CapturedSpan(
        name=span.name,
        kind=span.kind.name.lower(),
        attributes=dict(span.attributes or {}),
        events=tuple(_event(event) for event in span.events),
        status=cast('Literal["unset", "ok", "error"]', span.status.status_code.name.lower()),
        description=span.status.description,
        trace_id=format_trace_id(context.trace_id),
        span_id=format_span_id(context.span_id),
        parent_id=format_span_id(span.parent.span_id) if span.parent else None,
        links=tuple((format_trace_id(x.context.trace_id), format_span_id(x.context.span_id)) for x in span.links),
        scope=span.instrumentation_scope.name if span.instrumentation_scope else "",
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
    )


def _event(event: Event) -> CapturedEvent:
    return CapturedEvent(name=event.name, attributes=dict(event.attributes or {}), time_ns=event.timestamp)


def read_log(log: ReadableLogRecord) -> CapturedLog:
    """A log record."""
    record = log.log_record
    return CapturedLog(
        name=record.event_name,
        body=record.body,
        attributes=dict(record.attributes or {}),
        severity=record.severity_text or (record.severity_number.name if record.severity_number else None),
        trace_id=format_trace_id(record.trace_id) if record.trace_id else None,
        span_id=format_span_id(record.span_id) if record.span_id else None,
    )


class Metrics(MetricReader):
    """Metrics as often as one asks: the SDK shows a gauge and exemplars only at the first collection after them."""

    def __init__(self) -> None:
        super().__init__()
        self._collected: list[MetricsData] = []
        self._points: dict[str, dict[_Key, Point]] = {}
        self._reading = threading.Lock()

    def everything(self) -> list[MetricsData]:
        """All that was ever collected, up to now."""
        self.collect()
        with self._reading:
            return list(self._collected)

    def points(self, metric_name: str) -> list[Point]:
        """The latest points of a metric, with all their exemplars."""
        self.collect()
        with self._reading:
            return list(self._points.get(metric_name, {}).values())

    def names(self) -> list[str]:
        """The names of all metrics with points."""
        self.collect()
        with self._reading:
            return sorted(name for name, points in self._points.items() if points)

    def _receive_metrics(self, metrics_data: MetricsData, *_: object, **__: object) -> None:
        with self._reading:
            self._collected.append(metrics_data)
            for metric in _metrics(metrics_data):
                known = self._points.setdefault(metric.name, {})
                for point in metric.data.data_points:
                    _keep(known, _point(point))

    def shutdown(self, *_: object, **__: object) -> None:
        """Nothing: what was collected stays."""


def _metrics(data: MetricsData) -> Iterator[Metric]:
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics


def _keep(known: dict[_Key, Point], point: Point) -> None:
    key = tuple(sorted(point.attributes.items()))
    before = known[key].exemplars if key in known else ()
    # An observed value repeats its exemplar at each collection.
    known[key] = replace(point, exemplars=tuple(dict.fromkeys((*before, *point.exemplars))))


def _point(point: NumberDataPoint | HistogramDataPoint | ExponentialHistogramDataPoint) -> Point:
    value, count = (point.value, None) if isinstance(point, NumberDataPoint) else (point.sum, point.count)
    exemplars = tuple(_exemplar(exemplar) for exemplar in point.exemplars or ())
    return Point(attributes=dict(point.attributes or {}), value=value, count=count, exemplars=exemplars)


def _exemplar(exemplar: SdkExemplar) -> Exemplar:
    return Exemplar(
        value=exemplar.value,
        trace_id=format_trace_id(exemplar.trace_id or 0),
        span_id=format_span_id(exemplar.span_id or 0),
    )
