"""Hand-made events and an `OTelCallback` with everything in memory, for the tests of the OpenTelemetry part."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from rlm_otel.events import Finished, Link, ModelCall, Operation, Origin, Run, Started, ToolCall
from rlm_otel.messages import Message, Text
from rlm_otel.otel import OTelCallback
from rlm_otel.outcome import Failure, Outcome, Reply, RunResult, ToolResult, Usage
from rlm_otel.telemetry import Telemetry

T0: Final = 1_700_000_000_000_000_000
"""When every operation here starts, in nanoseconds since 1970."""

RUN: Final = Run(messages=(Message("user", (Text("Как дела? 🙂"),)),))
CHAT: Final = ModelCall(
    provider="openai",
    model="gpt-4o",
    server_address="api.openai.com",
    server_port=443,
    messages=(Message("user", (Text("Как дела? 🙂"),)),),
)
TOOL: Final = ToolCall(name="search", arguments='{"q": "кот"}', call_id="call_1")
REPLY: Final = Reply(
    messages=(Message("assistant", (Text("Хорошо 🐱"),)),),
    finish_reasons=("stop",),
    id="chatcmpl-1",
    model="gpt-4o-2024-08-06",
)
FOREIGN: Final = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(0))
USAGE: Final = Usage(input_tokens=10, output_tokens=5)


def foreign_span() -> trace.Span:
    """A span of the application that its sampler has dropped."""
    return trace.NonRecordingSpan(FOREIGN)


def started(operation: Operation, id_: str, parent: str | None = None, *, link: Link | None = None) -> Started:
    """An operation that begins at `T0`; `link` is its parent's span."""
    origin = Origin(id=id_, parent_id=parent, root_id="root", run_id="root", agent="researcher")
    return Started(origin=origin, time_ns=T0, monotonic_ns=0, operation=operation, parent=link)


def finished(start: Started, elapsed_s: float = 1.5, outcome: Outcome = "completed", **more: Any) -> Finished:
    """The end of what began; without more it went well."""
    results: dict[type, dict[str, object]] = {
        Run: {"result": RunResult(text="ok", finish_reasons=("stop",), inference_calls=1), "usage": USAGE},
        ModelCall: {"result": REPLY, "usage": USAGE, "attempts": 1},
        ToolCall: {"result": ToolResult(text='{"звук": "мяу"}')},
    }
    values = results[type(start.operation)] if outcome == "completed" else {}
    return Finished(
        origin=start.origin,
        time_ns=T0 + round(elapsed_s * 1e9),
        monotonic_ns=round(elapsed_s * 1e9),
        operation=start.operation,
        elapsed_s=elapsed_s,
        outcome=outcome,
        **{**values, **more},
    )


def failed(start: Started, error: BaseException, **more: Any) -> Finished:
    """Its end by an exception."""
    return finished(start, outcome="failed", failure=failure(error), **more)


def failure(error: BaseException) -> Failure:
    """What a producer reads from an exception."""
    return Failure(type=type(error).__qualname__, message=str(error), exception=error)


@dataclass
class Rig:
    """A callback and what it emitted."""

    callback: OTelCallback
    telemetry: Telemetry
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    log_exporter: InMemoryLogRecordExporter
    _links: dict[str, Link | None] = field(default_factory=dict)

    def begin(self, operation: Operation, id_: str, parent: str | None = None) -> Started:
        """Starts an operation as a producer does."""
        start = started(operation, id_, parent, link=self._links.get(parent) if parent else None)
        self.tell(start)
        return start

    def tell(self, start: Started) -> None:
        """`begin`, then the event with the link."""
        self._links[start.id] = link = self.callback.begin(start)
        self.callback.on_event(replace(start, link=link))

    def link(self, id_: str) -> Link:
        """The span of a started operation."""
        link = self._links[id_]
        assert link is not None
        return link

    def end(self, *events: Finished) -> None:
        """Tells the callback how operations ended."""
        for event in events:
            self.callback.on_event(event)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        """Ended spans by name."""
        return {span.name: span for span in self.exporter.get_finished_spans()}

    @property
    def logs(self) -> list[tuple[str | None, Mapping[str, Any]]]:
        """Emitted log events: name and attributes."""
        records = [log.log_record for log in self.log_exporter.get_finished_logs()]
        return [(record.event_name, dict(record.attributes or {})) for record in records]

    def points(self, metric_name: str) -> list[Any]:
        """The points of one metric, collected now."""
        return [point for name, point in self.all_points() if name == metric_name]

    def all_points(self) -> list[tuple[str, Any]]:
        """All points by metric, collected now: exemplars are given out once."""
        data = self.reader.get_metrics_data()
        return [
            (metric.name, point)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]


def _log_exporter() -> InMemoryLogRecordExporter:
    return InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK has no types there


def make_rig(*, joined: bool = True, logs: bool = False, sampler: Sampler | None = None, **arguments: Any) -> Rig:
    """An `OTelCallback(**arguments)` on providers in memory; not `joined` = they count as private."""
    exporter, reader, log_exporter = InMemorySpanExporter(), InMemoryMetricReader(), _log_exporter()
    tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter_provider = MeterProvider([reader], shutdown_on_exit=False)
    logger_provider = LoggerProvider(shutdown_on_exit=False)
    logger_provider.add_log_record_processor(SimpleLogRecordProcessor(log_exporter))
    telemetry = Telemetry((tracer_provider, meter_provider, logger_provider if logs else None), joined_traces=joined)
    return Rig(OTelCallback(telemetry, **arguments), telemetry, exporter, reader, log_exporter)
