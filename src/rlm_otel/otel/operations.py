"""The table of open operations: bounded, found by operation id or by span id."""

from collections import OrderedDict
from contextlib import suppress
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span

from rlm_otel.events import Link, Started
from rlm_otel.values import Attributes, Value
from rlm_otel.written import Written

Series = tuple[tuple[str, Value], ...]
"""What a model call is counted under while it is open: attributes as a tuple, so that it can be a key."""

LIMIT: Final = 10_000


class Open:
    """One operation between its start and its end."""

    __slots__ = ("ambient", "attributes", "context", "link", "retried", "series", "span", "started", "written")

    def __init__(
        self,
        started: Started,
        span: Span,
        link: Link | None,
        context: Context,
        ambient: Context,
        attributes: Attributes,
        written: Written,
        series: Series | None = None,
    ) -> None:
        self.started = started
        self.span = span
        self.link = link
        """None where no tracer made a span of its own for it."""
        self.context = context
        """Holds the span: for exemplars and log records, also after its end."""
        self.ambient = ambient
        """The caller's context when it began."""
        self.attributes = attributes
        """What the span started with."""
        self.written = written
        """Shared by all operations of one tree of runs."""
        self.series = series
        """None for what is no model call."""
        self.retried = 0
        """Failed attempts that were told and counted."""


class OpenOperations:
    """Open operations by id. Takes no lock: each step is one call of a dict, which is atomic."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._by_id: OrderedDict[str, Open] = OrderedDict()
        self._by_span: dict[str, Open] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def put(self, operation: Open) -> Open | None:
        """Adds one; gives back the oldest where there are too many now."""
        self._by_id[operation.started.origin.id] = operation
        if operation.link is not None:
            self._by_span[operation.link.span_id] = operation
        return self.pop_oldest() if len(self._by_id) > self._limit else None

    def get(self, operation_id: str | None) -> Open | None:
        """The open operation with this id."""
        return self._by_id.get(operation_id) if operation_id is not None else None

    def with_span(self, span_id: str) -> Open | None:
        """The open operation whose span has this id."""
        return self._by_span.get(span_id)

    def pop(self, operation_id: str) -> Open | None:
        """Takes one out; whoever gets it ends it, so that each ends once."""
        return self._without_span(self._by_id.pop(operation_id, None))

    def pop_oldest(self) -> Open | None:
        """Takes the oldest one out."""
        with suppress(KeyError):
            return self._without_span(self._by_id.popitem(last=False)[1])
        return None

    def all(self) -> list[Open]:
        """Those that are open now."""
        return list(self._by_id.values())

    def forget(self) -> None:
        """Empties the table without ending anything: in a forked child, where they belong to the parent."""
        self._by_id = OrderedDict()
        self._by_span = {}

    def _without_span(self, operation: Open | None) -> Open | None:
        if operation is not None and operation.link is not None:
            self._by_span.pop(operation.link.span_id, None)
        return operation
