"""Sees everything that the package emits during a test, whatever provider it goes to."""

from typing import Final

import pytest
from opentelemetry._logs import Logger, LoggerProvider
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer, TracerProvider

from rlm_otel.otel import recorder, scope
from rlm_otel.testing.from_sdk import Metrics
from tests.conformance import violations


class Watch:
    """Adds an exporter of its own to each of the SDK's providers that is asked for our tracer, meter or logger."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._spans: Final = InMemorySpanExporter()
        self._logs: Final = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK has no types there
        self._readers: Final[dict[sdk_metrics.MeterProvider, Metrics]] = {}
        self._seen: Final[set[TracerProvider | LoggerProvider]] = set()
        patch.setattr(recorder, "tracer_of", self._tracer_of)
        patch.setattr(recorder, "meter_of", self._meter_of)
        patch.setattr(recorder, "logger_of", self._logger_of)

    def violations(self, *, legacy: bool) -> list[str]:
        """What was broken; then it looks no more. `legacy` admits the older metric names."""
        metrics = [data for reader in self._readers.values() for data in reader.everything()]
        found = violations(self._spans.get_finished_spans(), metrics, self._logs.get_finished_logs(), legacy=legacy)
        for provider, reader in self._readers.items():
            provider.remove_metric_reader(reader)
        self._spans.shutdown()
        self._logs.shutdown()
        return found

    def _tracer_of(self, provider: TracerProvider) -> Tracer:
        if isinstance(provider, sdk_trace.TracerProvider) and provider not in self._seen:
            self._seen.add(provider)
            provider.add_span_processor(SimpleSpanProcessor(self._spans))
        return scope.tracer_of(provider)

    def _meter_of(self, provider: MeterProvider) -> Meter:
        if isinstance(provider, sdk_metrics.MeterProvider) and provider not in self._readers:
            self._readers[provider] = Metrics()
            provider.add_metric_reader(self._readers[provider])
        return scope.meter_of(provider)

    def _logger_of(self, provider: LoggerProvider) -> Logger:
        if isinstance(provider, sdk_logs.LoggerProvider) and provider not in self._seen:
            self._seen.add(provider)
            provider.add_log_record_processor(SimpleLogRecordProcessor(self._logs))
        return scope.logger_of(provider)
