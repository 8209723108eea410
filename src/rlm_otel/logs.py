"""A logging filter that puts the ids of the current span into the application's own log records."""

import logging
from collections.abc import Callable

from rlm_otel.fence import fence


def _current() -> tuple[str, str] | None:
    from rlm_otel.ambient import current_link

    link = current_link()
    return None if link is None else (link.trace_id, link.span_id)


class TraceContextFilter(logging.Filter):
    """Adds `trace_id` and `span_id` (hexadecimal; `-` outside of a span) to every record, and lets all of them pass.

    Add it to a handler, whose format may then say `%(trace_id)s`:

        handler.addFilter(TraceContextFilter())

    `source` gives the ids; the default is the model call, tool call or run that is going on in this context.
    """

    def __init__(self, source: Callable[[], tuple[str, str] | None] = _current) -> None:
        super().__init__()
        self._source = source

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; always True."""
        record.trace_id, record.span_id = self._ids()
        return True

    def _ids(self) -> tuple[str, str]:
        with fence("TraceContextFilter", "source"):
            return self._source() or ("-", "-")
        return "-", "-"
