"""Providers of our own, as `OTEL_*` and `configure` want them: built, flushed and closed together."""

import logging
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from rlm_otel.bounded import Standby, side_by_side
from rlm_otel.destination import Destination, Options, read_destination, read_interval_ms, read_service, wants_logs
from rlm_otel.exporters import (
    Delivery,
    LogDelivery,
    MetricDelivery,
    SpanDelivery,
    log_delivery,
    metric_delivery,
    span_delivery,
)
from rlm_otel.trouble import ExportFailure, explain, sentence

logger: Final = logging.getLogger("rlm_otel")


class PrivateProviders:
    """SDK providers that nobody else knows; a signal that goes nowhere has none.

    Several `Telemetry` may hold the same ones; the last to let go closes them.
    """

    def __init__(self, options: Options, environ: Mapping[str, str], *, logs: bool = False) -> None:
        self.closed = False
        self._holders = 0
        self._deliveries: list[Delivery[Any]] = []
        self._told: set[str] = set()
        self._destinations: list[Destination] = []
        service, attributes = read_service(options, environ, sys.argv[0] if sys.argv else "")
        self._service = service.value
        # The SDK adds service.instance.id, and a new one in each forked child.
        resource = Resource.create(dict(attributes))
        self.tracer_provider = self._tracer_provider(read_destination("traces", options, environ), resource)
        interval_ms, warnings = read_interval_ms(environ)
        self.meter_provider = self._meter_provider(read_destination("metrics", options, environ), resource, interval_ms)
        self.logger_provider: LoggerProvider | None = None
        if logs or wants_logs(environ):
            self.logger_provider = self._logger_provider(read_destination("logs", options, environ), resource)
        self._standby = Standby()
        said = [warning for destination in self._destinations for warning in destination.warnings]
        for warning in dict.fromkeys([*said, *warnings]):
            logger.warning("%s", warning)
        logger.info("%s", self.describe())

    def describe(self) -> str:
        """Where telemetry goes, in one line."""
        ways = [
            f"{it.signal} to {' and '.join([it.shown] * it.otlp + ['the console'] * it.console)}"
            for it in self._destinations
            if it.otlp or it.console
        ]
        protocols = dict.fromkeys(it.protocol for it in self._destinations if it.otlp)
        how = f" ({', '.join(protocols)})" if protocols else ""
        if not ways:
            return "telemetry goes nowhere: every OTEL_*_EXPORTER is none"
        return f"private providers, service {self._service!r}: {', '.join(ways)}{how}"

    @property
    def failed_exports(self) -> int:
        """How many exports (batches) did not arrive."""
        return sum(delivery.failed for delivery in self._deliveries)

    def hold(self) -> "PrivateProviders":
        """Count one more that uses them."""
        self._holders += 1
        return self

    def release(self, timeout_s: float) -> bool:
        """Count one less; close with the last, else flush. True if everything arrived in time."""
        self._holders -= 1
        return self.flush(timeout_s) if self._holders > 0 else self.close(timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Send what is waiting; True if everything arrived in time."""
        failed = self.failed_exports
        timeout_ms = int(timeout_s * 1000)
        flushes = [partial(provider.force_flush, timeout_ms) for provider in self._providers()]
        return side_by_side(flushes, timeout_s) and self.failed_exports == failed

    def close(self, timeout_s: float, *, at_exit: bool = False) -> bool:
        """Send what is waiting and shut down, once; True if everything arrived in time."""
        if self.closed:
            return True
        self.closed = True
        failed = self.failed_exports
        for delivery in self._deliveries:
            delivery.hurry()
        shutdowns = [provider.shutdown for provider in self._providers()]
        if at_exit:
            in_time = self._standby.run(lambda: [shutdown() for shutdown in shutdowns], timeout_s)
        else:
            in_time = side_by_side(shutdowns, timeout_s)
            self._standby.stop()
        if not in_time:
            for delivery in self._deliveries:
                if delivery.last is not None:
                    self._tell(delivery.last)
            logger.warning("telemetry was not sent within %.1f s at shutdown; what was waiting is lost", timeout_s)
        return in_time and self.failed_exports == failed

    def _providers(self) -> list[Any]:
        return [it for it in (self.tracer_provider, self.meter_provider, self.logger_provider) if it is not None]

    def _tell(self, failure: ExportFailure) -> None:
        """The first failure of each kind gets a line; the same trouble of another signal is no news."""
        why = explain(failure).why
        if why not in self._told:
            self._told.add(why)
            logger.warning("%s Later failures are only counted.", sentence(failure))

    def _tracer_provider(self, destination: Destination, resource: Resource) -> TracerProvider | None:
        self._destinations.append(destination)
        if not (destination.otlp or destination.console):
            return None
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if destination.otlp:
            delivery = span_delivery(destination, self._tell)
            self._deliveries.append(delivery)
            provider.add_span_processor(BatchSpanProcessor(SpanDelivery(delivery)))
        if destination.console:
            provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=sys.stdout)))
        return provider

    def _meter_provider(self, destination: Destination, resource: Resource, interval_ms: float) -> MeterProvider | None:
        self._destinations.append(destination)
        exporters: list[MetricExporter] = []
        if destination.otlp:
            delivery = metric_delivery(destination, self._tell)
            self._deliveries.append(delivery)
            exporters.append(MetricDelivery(delivery))
        if destination.console:
            exporters.append(ConsoleMetricExporter(out=sys.stdout))
        if not exporters:
            return None
        readers = [PeriodicExportingMetricReader(exporter, interval_ms) for exporter in exporters]
        return MeterProvider(metric_readers=readers, resource=resource, shutdown_on_exit=False)

    def _logger_provider(self, destination: Destination, resource: Resource) -> LoggerProvider | None:
        self._destinations.append(destination)
        if not (destination.otlp or destination.console):
            return None
        provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
        if destination.otlp:
            delivery = log_delivery(destination, self._tell)
            self._deliveries.append(delivery)
            provider.add_log_record_processor(BatchLogRecordProcessor(LogDelivery(delivery)))
        if destination.console:
            provider.add_log_record_processor(BatchLogRecordProcessor(ConsoleLogRecordExporter(out=sys.stdout)))
        return provider
