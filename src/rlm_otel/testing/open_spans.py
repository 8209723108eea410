"""A span processor that knows which spans have started and not ended."""

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor


class OpenSpans(SpanProcessor):
    """Keeps the names of the spans that are open."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Notes a span."""
        self._names[span.get_span_context().span_id] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        """Forgets it."""
        context = span.get_span_context()
        self._names.pop(context.span_id if context else 0, None)

    def names(self) -> list[str]:
        """In the order of their start."""
        return list(self._names.values())
