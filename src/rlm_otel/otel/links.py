"""Between the SDK's span contexts and the links of our events."""

from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    format_span_id,
    format_trace_id,
)

from rlm_otel.events import Link


def link_of(span: Span, parent: Span) -> Link | None:
    """The ids of a span; None where the tracer made none of its own (a no-op one hands the parent's on)."""
    own = span.get_span_context()
    if not own.is_valid or own.span_id == parent.get_span_context().span_id:
        return None
    return Link(format_trace_id(own.trace_id), format_span_id(own.span_id), own.trace_flags.sampled)


def span_of(link: Link) -> Span:
    """A stand-in for a span that is kept elsewhere: for its children and for exemplars."""
    flags = TraceFlags(TraceFlags.SAMPLED if link.sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(
        SpanContext(int(link.trace_id, 16), int(link.span_id, 16), is_remote=False, trace_flags=flags)
    )
