"""Where the demo's telemetry goes, and what of it arrived."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from rlm_otel.destination import Options, read_destination
from rlm_otel.events import Event, Finished
from rlm_otel.received import ReceivedSpan, read_spans
from rlm_otel.receiver import Receiver
from rlm_otel.telemetry import Telemetry, configure

Wire = Literal["http/protobuf", "grpc"]

_SERVICE: Final = "rlm-otel-demo"
_FLUSH_S: Final = 10.0
# Metrics are sent once, at the end: so it is known whose export failed.
_AT_THE_END: Final = {"OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
_IMPATIENT: Final = {"OTEL_EXPORTER_OTLP_TIMEOUT": "3"}


class Emitted:
    """A listener that counts what ended: as many spans must arrive."""

    def __init__(self) -> None:
        self._ids: list[str] = []

    def on_event(self, event: Event, /) -> None:
        """Notes the end of a run, a model call or a tool call."""
        if isinstance(event, Finished):
            self._ids.append(event.id)  # atomic: events come from many threads

    @property
    def count(self) -> int:
        """How many operations ended so far."""
        return len(self._ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The spans to show, and what became of them in one line."""

    spans: tuple[ReceivedSpan, ...]
    line: str
    complete: bool
    """Whether everything arrived."""
    trace_id: str | None = None
    """One to look up in the backend; None where none has it."""


class Delivery(Protocol):
    """A destination: its `telemetry` is what an `OTelCallback` is made with."""

    telemetry: Telemetry

    def finish(self, emitted: int) -> Delivered:
        """Sends what is waiting, closes everything, and says what came of it."""


class Embedded:
    """Real OTLP over a socket, to a receiver in this process."""

    def __init__(self, protocol: Wire | None) -> None:
        self._receiver = Receiver(protocol or "http/protobuf").start()
        environ = {**_AT_THE_END, "OTEL_EXPORTER_OTLP_PROTOCOL": self._receiver.protocol}
        self.telemetry = configure(service_name=_SERVICE, endpoint=self._receiver.endpoint, environ=environ)

    def finish(self, emitted: int) -> Delivered:
        """The spans and metric points that the receiver got."""
        self.telemetry.shutdown(_FLUSH_S)
        self._receiver.close()
        spans, points = self._receiver.spans(), len(self._receiver.points())
        complete = len(spans) == emitted and points > 0
        relation = "=" if len(spans) == emitted else "but"
        line = f"spans: {emitted} emitted {relation} {len(spans)} received over OTLP; {points} metric points received"
        return Delivered(spans=spans, line=line, complete=complete)


class Remote:
    """A collector elsewhere; what is sent there is copied, so that it can be shown here too."""

    def __init__(self, url: str, protocol: Wire | None, environ: Mapping[str, str]) -> None:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        options = Options(service_name=_SERVICE, endpoint=url, protocol=protocol)
        self._shown = read_destination("traces", options, environ).shown  # without a password
        self._copy = InMemorySpanExporter()
        self.telemetry = configure(
            service_name=_SERVICE, endpoint=url, protocol=protocol, environ={**_IMPATIENT, **environ, **_AT_THE_END}
        )
        provider = self.telemetry.tracer_provider
        assert isinstance(provider, TracerProvider)
        provider.add_span_processor(SimpleSpanProcessor(self._copy))

    def finish(self, emitted: int) -> Delivered:
        """What the collector accepted, and the copy."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        spans_accepted = self._send(self.telemetry.tracer_provider)
        metrics_accepted = self._send(self.telemetry.meter_provider)
        self.telemetry.shutdown(1.0)
        spans = tuple(read_spans(encode_spans(self._copy.get_finished_spans())))
        line = f"spans: {emitted} emitted, {_said(spans_accepted)} by {self._shown}; metrics {_said(metrics_accepted)}"
        trace_id = spans[-1].trace_id if spans and spans_accepted else None
        complete = spans_accepted and metrics_accepted
        return Delivered(spans=spans, line=line, complete=complete, trace_id=trace_id)

    def _send(self, provider: object) -> bool:
        failed = self.telemetry.failed_exports
        flush = getattr(provider, "force_flush", None)
        in_time = flush is not None and flush(int(_FLUSH_S * 1000)) is not False
        return in_time and self.telemetry.failed_exports == failed


def _said(accepted: bool) -> str:
    return "accepted" if accepted else "NOT accepted"
