"""Real calls through `OTelCallback` into the real collector, with the application's own counts beside them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import Final, Protocol

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rlm_otel import OTelCallback
from rlm_otel.callbacks import MetricsCollector
from rlm_otel.demo.calls import call_script
from rlm_otel.received import ReceivedSpan, read_spans
from rlm_otel.telemetry import Telemetry, configure

ENVIRONMENT: Final = "stack-test"
_EVERY_SECOND: Final = {
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
    "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={ENVIRONMENT}",
}


class TakesOtlp(Protocol):
    """Where telemetry can be sent to."""

    @property
    def collector_http(self) -> str:
        """URL for OTLP over HTTP."""

    @property
    def collector_grpc(self) -> str:
        """URL for OTLP over gRPC."""


@contextmanager
def sending(
    stack: TakesOtlp, service: str, protocol: str = "http/protobuf", *, logs: bool = False, **environ: str
) -> Iterator[Telemetry]:
    """Telemetry of a service that goes to the stack; all of it has been accepted at the end of the block."""
    endpoint = stack.collector_grpc if protocol == "grpc" else stack.collector_http
    settings = {**_EVERY_SECOND, **environ}
    with configure(
        service_name=service, endpoint=endpoint, protocol=protocol, logs=logs, environ=settings
    ) as telemetry:
        yield telemetry
        assert telemetry.flush(10.0)
    assert telemetry.failed_exports == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrated:
    """The demo workload as the application itself saw it."""

    service: str
    counts: MetricsCollector
    spans: tuple[ReceivedSpan, ...]
    """Every span that it emitted."""


def demonstrate(stack: TakesOtlp, protocol: str, *, service: str) -> Demonstrated:
    """Run the demo's calls and send what comes of them."""
    counts, copy = MetricsCollector(), InMemorySpanExporter()
    with sending(stack, service, protocol) as telemetry:
        provider = telemetry.tracer_provider
        assert isinstance(provider, TracerProvider)
        provider.add_span_processor(SimpleSpanProcessor(copy))
        call_script([OTelCallback(telemetry), counts], StringIO())
    return Demonstrated(
        service=service, counts=counts, spans=tuple(read_spans(encode_spans(copy.get_finished_spans())))
    )
