"""The real OTLP exporters, each inside a `Delivery` that survives a fork and tells plainly what does not arrive."""

import logging
import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from enum import Enum
from typing import Any, Final, Generic, TypeVar

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from rlm_otel.destination import Destination
from rlm_otel.trouble import ExportFailure, is_unreachable

Report = Callable[[ExportFailure], None]
E = TypeVar("E", SpanExporter, MetricExporter, LogRecordExporter)


class Delivery(Generic[E]):
    """One OTLP exporter, what it failed to deliver, and why.

    The exporter is built anew in a forked child: a connection shared with the parent would mix up their answers.
    """

    def __init__(
        self, destination: Destination, build: Callable[[Destination, requests.Session], E], report: Report
    ) -> None:
        self.destination = destination
        self.failed = 0
        """How many exports (batches, not items) did not arrive. The SDK's lock lets one thread at a time export."""
        self.last: ExportFailure | None = None
        """What went wrong with the last export; None if it was accepted."""
        self._build: Callable[[Destination, requests.Session], E] = build
        self._report = report
        self._hurried = False
        self._closed = False
        self._exporters: list[E] = []  # those of parents are kept: taking gRPC down in a child can hang
        self._pid: int | None = None

    @property
    def exporter(self) -> E:
        """The SDK's exporter, of this very process."""
        if self._pid != os.getpid():
            self._exporters.append(self._build(self.destination, _Session(self)))
            self._pid = os.getpid()
        return self._exporters[-1]

    def send(self, export: Callable[[E], Enum]) -> bool:
        """Export; whether it was accepted. What the SDK's exporter logs meanwhile is kept for the explanation."""
        self.forget()
        if self._closed:  # a late batch of a worker whose time was up, or one restarted by a fork
            self.failed += 1
            return False
        accepted = self._attempt(export)
        # The SDK takes a redirect, a web page and a rejected batch for success; the session noted their status.
        if accepted and (self.last is None or self.last.status is None):
            self.last = None
            return True
        self.failed += 1
        self._report(self.last or ExportFailure(self.destination))
        return False

    def _attempt(self, export: Callable[[E], Enum]) -> bool:
        token = _sending.set(self)
        try:
            return export(self.exporter).name == "SUCCESS"
        except ValueError as error:  # gRPC, when shutdown closed its channel meanwhile
            self.note(None, str(error))
            return False
        finally:
            _sending.reset(token)

    def note(self, status: int | None, text: str) -> None:
        """Keep what was learnt about the export under way."""
        self.last = ExportFailure(self.destination, status, text)
        if self._hurried and is_unreachable(self.last):
            self.close()

    def forget(self) -> None:
        """Nothing is wrong so far with the export under way."""
        self.last = None

    def heard(self, record: logging.LogRecord) -> None:
        """The exporter logged something; over HTTP the session knows more."""
        if self.destination.protocol == "grpc" and record.levelno >= logging.WARNING and not self._closed:
            self.note(None, record.getMessage())

    def answered(self, response: requests.Response) -> None:
        """A server answered: was it an OTLP receiver that took everything?"""
        if response.status_code >= 300:
            self.note(response.status_code, response.text[:500])
        elif response.headers.get("content-type", "").startswith("text/html"):
            self.note(response.status_code, "a web page")
        elif rejected := _rejected(self.destination.signal, response.content):
            self.note(response.status_code, rejected)
        else:
            self.forget()

    def hurry(self) -> None:
        """From now on give up at once where nobody listens, instead of trying again for seconds."""
        self._hurried = True

    def close(self) -> None:
        """Shut the exporter down, once; a waiting retry ends."""
        if not self._closed:
            self._closed = True
            if self._pid == os.getpid():
                self._exporters[-1].shutdown()  # type: ignore[no-untyped-call]  # the log exporter's has no types


class SpanDelivery(SpanExporter):
    """The span exporter that the SDK sees."""

    def __init__(self, delivery: Delivery[SpanExporter]) -> None:
        self._delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand a batch on."""
        accepted = self._delivery.send(lambda exporter: exporter.export(spans))
        return SpanExportResult.SUCCESS if accepted else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the SDK's exporter."""
        self._delivery.close()


class MetricDelivery(MetricExporter):
    """The metric exporter that the SDK sees."""

    def __init__(self, delivery: Delivery[MetricExporter]) -> None:
        # The reader takes temporality and aggregation (set by OTEL_* variables) from here.
        super().__init__(delivery.exporter._preferred_temporality, delivery.exporter._preferred_aggregation)
        self._delivery = delivery

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: object) -> MetricExportResult:
        """Hand a collection on."""
        accepted = self._delivery.send(lambda exporter: exporter.export(metrics_data, timeout_millis))
        return MetricExportResult.SUCCESS if accepted else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing is held back here."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: object) -> None:  # noqa: ARG002 - the SDK's signature
        """Close the SDK's exporter."""
        self._delivery.close()


class LogDelivery(LogRecordExporter):
    """The log exporter that the SDK sees."""

    def __init__(self, delivery: Delivery[LogRecordExporter]) -> None:
        self._delivery = delivery

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Hand a batch on."""
        accepted = self._delivery.send(lambda exporter: exporter.export(batch))
        return LogRecordExportResult.SUCCESS if accepted else LogRecordExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 10_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing is held back here."""
        return True

    def shutdown(self) -> None:
        """Close the SDK's exporter."""
        self._delivery.close()


def span_delivery(destination: Destination, report: Report) -> Delivery[SpanExporter]:
    """Delivery of spans."""

    def build(destination: Destination, session: requests.Session) -> SpanExporter:
        if destination.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

            return _quiet(OverGrpc(**_grpc(destination)))
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return _quiet(OverHttp(**_http(destination, session)))

    return Delivery(destination, build, report)


def metric_delivery(destination: Destination, report: Report) -> Delivery[MetricExporter]:
    """Delivery of metrics."""

    def build(destination: Destination, session: requests.Session) -> MetricExporter:
        if destination.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc

            return _quiet(OverGrpc(**_grpc(destination)))
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp

        return _quiet(OverHttp(**_http(destination, session)))

    return Delivery(destination, build, report)


def log_delivery(destination: Destination, report: Report) -> Delivery[LogRecordExporter]:
    """Delivery of log records."""

    def build(destination: Destination, session: requests.Session) -> LogRecordExporter:
        if destination.protocol == "grpc":
            from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as OverGrpc

            return _quiet(OverGrpc(**_grpc(destination)))
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as OverHttp

        return _quiet(OverHttp(**_http(destination, session)))

    return Delivery(destination, build, report)


def _http(destination: Destination, session: requests.Session) -> dict[str, Any]:
    return {
        "endpoint": destination.endpoint.value,
        "headers": dict(destination.headers),
        "timeout": destination.timeout_s,
        "session": session,
    }


def _grpc(destination: Destination) -> dict[str, Any]:
    return {
        "endpoint": destination.endpoint.value,
        "insecure": not destination.endpoint.value.startswith("https://"),
        "headers": tuple(destination.headers.items()),
        "timeout": destination.timeout_s,
    }


class _Session(requests.Session):
    """Notes how each request went: the exporter itself keeps it only in log lines."""

    def __init__(self, delivery: Delivery[Any]) -> None:
        super().__init__()
        self._delivery = delivery

    def request(self, method: str, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.RequestException as error:
            self._delivery.note(None, f"{type(error).__name__}: {error}")
            raise
        self._delivery.answered(response)
        return response


class _Overheard(logging.Filter):
    """Hands what an exporter logs during one of *our* exports to its delivery; everything else passes."""

    def filter(self, record: logging.LogRecord) -> bool:
        delivery = _sending.get()
        if delivery is not None:
            delivery.heard(record)
        return delivery is None


_sending: Final[ContextVar[Delivery[Any] | None]] = ContextVar("rlm_otel_sending", default=None)
_overheard: Final = _Overheard()


def _quiet(exporter: E) -> E:
    """Listen to the loggers of the exporter's own modules, before their filter against repetition."""
    for owner in type(exporter).__mro__:
        if owner.__module__.startswith("opentelemetry.exporter."):
            logger = logging.getLogger(owner.__module__)
            if _overheard not in logger.filters:
                logger.filters.insert(0, _overheard)
    return exporter


def _rejected(signal: str, body: bytes) -> str:
    """What a receiver that said 200 did not take; empty if it took everything."""
    try:
        if signal == "traces":
            traces = ExportTraceServiceResponse.FromString(body).partial_success
            count, said = traces.rejected_spans, traces.error_message
        elif signal == "metrics":
            metrics = ExportMetricsServiceResponse.FromString(body).partial_success
            count, said = metrics.rejected_data_points, metrics.error_message
        else:
            logs = ExportLogsServiceResponse.FromString(body).partial_success
            count, said = logs.rejected_log_records, logs.error_message
    except DecodeError:
        return ""  # receivers exist that answer with JSON or a plain "ok"
    return f"{count} rejected: {said}" if count else ""
