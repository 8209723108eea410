"""`Capture`: an `OTelCallback` whose spans, metrics and log events stay in memory."""

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType, TracebackType
from typing import Final, Self, TypedDict, Unpack

from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Sampler

from rlm_otel import reaper
from rlm_otel.otel import OTelCallback
from rlm_otel.prices import Price, PriceList
from rlm_otel.telemetry import Telemetry
from rlm_otel.testing.captured import CapturedLog, CapturedSpan, Point, outline
from rlm_otel.testing.from_sdk import Metrics, read_log, read_span
from rlm_otel.testing.open_spans import OpenSpans
from rlm_otel.testing.trace_ids import NumberedTraceIds

_NO_ENVIRONMENT: Final[Mapping[str, str]] = MappingProxyType({})


class CallbackOptions(TypedDict, total=False):
    """The arguments of `OTelCallback` that are not about where telemetry goes."""

    content: str | None
    redact: Callable[[str], str | None] | None
    labels: Mapping[str, Iterable[str]] | None
    prices: PriceList | Mapping[str, str | Price | Mapping[str, float | None]] | None
    chunk_times: bool
    semconv: str


class Capture:
    """Give `capture.callback` to what you test, then ask for `spans`, `points`, `logs` or the `outline` of the trace.

        with Capture(content="span") as capture:
            RLM.from_openai("gpt-4o", callbacks=[capture.callback]).run("Hi")
        assert capture.outline() == "invoke_agent\\n  chat gpt-4o"

    Nothing global is read or set: not OpenTelemetry's providers, and of the environment only `environ`. `joined` says
    whether spans go into OpenTelemetry's context, as with a service's own providers. Ids are numbered unless you give
    an `id_generator`; `sampler` and it are the SDK's. Leaving the block flushes; what was captured stays readable.
    """

    def __init__(
        self,
        *,
        joined: bool = True,
        sampler: Sampler | None = None,
        id_generator: IdGenerator | None = None,
        environ: Mapping[str, str] = _NO_ENVIRONMENT,
        **options: Unpack[CallbackOptions],
    ) -> None:
        nothing = Resource.get_empty()
        self._span_exporter = InMemorySpanExporter()
        self._log_exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK has no types there
        self._metrics = Metrics()
        self._open = OpenSpans()
        self.tracer_provider: Final = TracerProvider(
            sampler or DEFAULT_ON, nothing, shutdown_on_exit=False, id_generator=id_generator or NumberedTraceIds()
        )
        """For spans of your own beside ours."""
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._span_exporter))
        self.tracer_provider.add_span_processor(self._open)
        meters = MeterProvider([self._metrics], nothing, TraceBasedExemplarFilter(), shutdown_on_exit=False)
        logs = LoggerProvider(nothing, shutdown_on_exit=False)
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._log_exporter))
        self.telemetry: Final = Telemetry((self.tracer_provider, meters, logs), joined_traces=joined)
        self.callback: Final = OTelCallback(self.telemetry, **options)
        """The callback to attach."""
        self.callback._environ = environ

    # Traces ----------------------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[CapturedSpan]:
        """The spans that have ended, in the order of their start."""
        spans = [read_span(span) for span in self.sdk_spans]
        return sorted(spans, key=lambda span: (span.start_ns, span.span_id))

    def span(self, name: str) -> CapturedSpan:
        """The one span of this name; AssertionError, with the outline, if there is none or more."""
        found = [span for span in self.spans if span.name == name]
        if len(found) != 1:
            msg = f"{len(found)} ended spans are named {name!r}; captured:\n{self.outline() or '(no spans)'}"
            if self.open_spans:
                msg += f"\nnot ended: {', '.join(self.open_spans)}"
            raise AssertionError(msg)
        return found[0]

    @property
    def open_spans(self) -> list[str]:
        """Names of the spans that have started and not ended."""
        reaper.wait()
        return self._open.names()

    def outline(self, attributes: Collection[str] = (), *, by_name: bool = False) -> str:
        """The traces as text: one line a span, two spaces of indent a level, in the order of their start.

            invoke_agent root
              chat gpt-4o !openai.RateLimitError
              execute_tool add

        What failed shows its `error.type`, what was otherwise not completed its outcome: `(closed)`. `attributes`
        names those to show: `chat gpt-4o rlm.turn=1`. `by_name` orders siblings by name: for those that run at once.
        """
        return outline(self.spans, attributes=attributes, by_name=by_name)

    # Metrics ---------------------------------------------------------------------------------------------------------

    def points(self, metric_name: str, /, **attributes: object) -> list[Point]:
        """The points of a metric, those with these attributes: `points("rlm.client.operations", rlm_outcome="failed")`.

        In the keywords `_` stands for the dots of a name as well.
        """
        reaper.wait()
        wanted = attributes.items()
        points = self._metrics.points(metric_name)
        return [point for point in points if wanted <= {_keyword(k): v for k, v in point.attributes.items()}.items()]

    def value(self, metric_name: str, /, **attributes: object) -> int | float:
        """The value of a metric, summed over the points with these attributes; of a histogram the sum of what it got.

        AssertionError if there is no such point.
        """
        return sum(point.value for point in self._some_points(metric_name, attributes))

    def count(self, metric_name: str, /, **attributes: object) -> int:
        """How many values a histogram got, over all points with these attributes; AssertionError if there are none."""
        return sum(point.count or 0 for point in self._some_points(metric_name, attributes))

    @property
    def metric_names(self) -> list[str]:
        """The names of all metrics that have points, sorted."""
        reaper.wait()
        return self._metrics.names()

    def _some_points(self, metric_name: str, attributes: Mapping[str, object]) -> list[Point]:
        found = self.points(metric_name, **attributes)
        if not found:
            others = "\n".join(f"  {point.attributes}" for point in self.points(metric_name))
            msg = f"{metric_name} has no point with {dict(attributes)}; it has:\n{others or '  (no points)'}"
            if not others:
                msg += f"\nmetrics with points: {', '.join(self.metric_names) or 'none'}"
            raise AssertionError(msg)
        return found

    # Logs ------------------------------------------------------------------------------------------------------------

    @property
    def logs(self) -> list[CapturedLog]:
        """The log records, in the order of their emission."""
        return [read_log(record) for record in self.sdk_logs]

    # As the SDK has it -----------------------------------------------------------------------------------------------

    @property
    def sdk_spans(self) -> list[ReadableSpan]:
        """Ended spans as OpenTelemetry's own objects, in the order of their end."""
        reaper.wait()
        return list(self._span_exporter.get_finished_spans())

    @property
    def sdk_metrics(self) -> list[MetricsData]:
        """All that was collected so far and now; a later collection repeats what an earlier one had."""
        reaper.wait()
        return self._metrics.everything()

    @property
    def sdk_logs(self) -> list[ReadableLogRecord]:
        """Log records as OpenTelemetry's own objects."""
        reaper.wait()
        return list(self._log_exporter.get_finished_logs())

    def flush(self) -> None:
        """Has everything that is over recorded, streams that were dropped too."""
        reaper.wait()
        self.callback.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.flush()


def _keyword(name: str) -> str:
    return name.replace(".", "_")
