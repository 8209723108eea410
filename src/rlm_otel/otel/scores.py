"""Scores: an evaluation event where logs are recorded, else a short span in the trace; and a metric."""

from typing import Final

from opentelemetry import trace
from opentelemetry._logs import Logger
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TraceFlags, Tracer

from rlm_otel import semconv as sc
from rlm_otel.clock import SYSTEM_CLOCK
from rlm_otel.content import Policy
from rlm_otel.events import Link
from rlm_otel.measuring import score_measurements
from rlm_otel.otel.links import span_of
from rlm_otel.otel.metrics import Metrics
from rlm_otel.outcome import Score
from rlm_otel.values import Attributes, present

_LOW: Final = 2**64 - 1


class Scores:
    """Records scores with the providers of one callback."""

    def __init__(self, logger: Logger | None, tracer: Tracer, metrics: Metrics, on_spans: Policy, on_events: Policy):
        self._logger = logger
        self._tracer = tracer
        self._metrics = metrics
        self._on_spans = on_spans
        self._on_events = on_events

    def record(self, link: Link | None, score: Score) -> None:
        """Records one score of the span with this link, or of nothing in particular."""
        context = Context() if link is None else trace.set_span_in_context(_judged(link), Context())
        now_ns = SYSTEM_CLOCK.wall_ns()
        if self._logger is not None:
            self._logger.emit(
                timestamp=now_ns,
                context=context or None,
                event_name=sc.EVALUATION_LOG,
                attributes=_attributes(score, self._on_events),
            )
        else:
            inside = context if link is None or link.span_id else trace.set_span_in_context(_stand_in(link), Context())
            attributes = _attributes(score, self._on_spans)
            span = self._tracer.start_span(sc.FEEDBACK_SPAN, inside, attributes=attributes, start_time=now_ns)
            span.end(now_ns)
        self._metrics.record(score_measurements(score), context if link is not None and link.span_id else None)


def _judged(link: Link) -> trace.Span:
    if link.span_id:
        return span_of(link)
    flags = TraceFlags(TraceFlags.SAMPLED)  # of the span we know nothing; a log record can still name the trace
    return trace.NonRecordingSpan(SpanContext(int(link.trace_id, 16), 0, is_remote=True, trace_flags=flags))


def _stand_in(link: Link) -> trace.Span:
    """A parent that nobody has, the same for each score of a trace: without one the SDK would begin a new trace."""
    return span_of(Link(link.trace_id, f"{int(link.trace_id, 16) & _LOW or 1:016x}", remote=True))


def _attributes(score: Score, policy: Policy) -> Attributes:
    explanation = policy.text(score.explanation) if policy.captures and score.explanation else None
    pairs = (
        (sc.EVALUATION_NAME, score.name),
        (sc.EVALUATION_SCORE, score.value),
        (sc.EVALUATION_LABEL, score.label),
        (sc.EVALUATION_EXPLANATION, explanation),
    )
    return present(pairs)
