"""Sends traces and a counter to the collector one request at a time, and knows of each whether it was accepted."""

import threading
import time
import urllib.request
from types import TracebackType
from typing import Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

_BETWEEN_COUNTS: Final = 10


class Sender:
    """In its `with`, a thread sends traces of one span each, so many a second, and counts them in `sent_total`."""

    def __init__(self, service: str, collector: str, *, per_second: float = 40, failed: bool = False) -> None:
        """`failed` traces have errors, so that sampling keeps every one of them."""
        self._collector = collector
        self._every_s = 1 / per_second
        self._status = StatusCode.ERROR if failed else StatusCode.UNSET
        self._copy, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        resource = Resource.create({"service.name": service})
        spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        spans.add_span_processor(SimpleSpanProcessor(self._copy))
        metrics = MeterProvider([self._reader], resource=resource, shutdown_on_exit=False)
        self._tracer = spans.get_tracer("sender")
        self._counter = metrics.get_meter("sender").create_counter("sent")
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._send, name="sender")
        self.accepted: set[str] = set()
        """Ids of the traces that the collector said it has."""
        self.refused = 0
        """How many it did not take, or could not be asked."""
        self.counted = 0
        """The last value of the counter that it took."""

    def wait_for(self, more: int, timeout_s: float = 30.0) -> None:
        """Until so many more traces have been accepted than now."""
        with self._changed:
            wanted = len(self.accepted) + more
            assert self._changed.wait_for(lambda: len(self.accepted) >= wanted, timeout_s), self.refused

    def __enter__(self) -> "Sender":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        if kind is None:
            assert self._post_count()

    def _send(self) -> None:
        number, due_s = 0, time.monotonic()
        while not self._ending.is_set():
            number += 1
            self._copy.clear()
            with self._tracer.start_as_current_span("one") as one:
                one.set_status(self._status)
                self._counter.add(1)
            (span,) = self._copy.get_finished_spans()
            taken = self._post("traces", encode_spans([span]).SerializeToString())
            with self._changed:
                if taken and span.context is not None:
                    self.accepted.add(f"{span.context.trace_id:032x}")
                else:
                    self.refused += 1
                self._changed.notify_all()
            if number % _BETWEEN_COUNTS == 0:
                self._post_count()
            due_s += self._every_s
            self._ending.wait(max(0.0, due_s - time.monotonic()))

    def _post_count(self) -> bool:
        data = self._reader.get_metrics_data()
        assert data is not None
        value = next(
            int(point.value)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint)
        )
        taken = self._post("metrics", encode_metrics(data).SerializeToString())
        if taken:
            self.counted = value
        return taken

    def _post(self, signal: str, body: bytes) -> bool:
        request = urllib.request.Request(
            f"{self._collector}/v1/{signal}", body, {"Content-Type": "application/x-protobuf"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:  # refused, reset, or an HTTP error
            return False
