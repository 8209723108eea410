"""Between the SDK's span contexts and the links of our events."""

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
)

from rlm_otel.events import Link


def link_of(span: Span, context: Context) -> Link | None:
    """The ids of a span that was begun in a context; None where the tracer made none (a no-op one gives the parent)."""
    own = span.get_span_context()
    if not span.is_recording():
        parent = get_current_span(context).get_span_context()
        if not own.is_valid or own.span_id == parent.span_id:
            return None
    state = own.trace_state.to_header() if own.trace_state else ""
    return Link(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled, state)


def span_of(link: Link) -> Span:
    """A stand-in for a span that is kept elsewhere: for its children and for exemplars."""
    flags = TraceFlags(TraceFlags.SAMPLED if link.sampled else TraceFlags.DEFAULT)
    state = TraceState.from_header([link.state]) if link.state else None
    return NonRecordingSpan(
        SpanContext(int(link.trace_id, 16), int(link.span_id, 16), link.remote, trace_flags=flags, trace_state=state)
    )
