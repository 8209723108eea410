"""Turns events into spans, measurements and log records, with the providers that were chosen at the first event."""

import dataclasses
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from rlm_otel import mapping, measuring, older
from rlm_otel import semconv as sc
from rlm_otel.clock import SYSTEM_CLOCK
from rlm_otel.content import Policy
from rlm_otel.events import Finished, Link, ModelCall, Retrying, Started
from rlm_otel.fence import fence
from rlm_otel.measuring import DeclaredLabels
from rlm_otel.otel.attributes import set_attributes
from rlm_otel.otel.context import UNCHANGED, Attached, is_suppressed
from rlm_otel.otel.details import Details
from rlm_otel.otel.failures import Failures, Signal
from rlm_otel.otel.links import link_of, span_of
from rlm_otel.otel.metrics import Metrics
from rlm_otel.otel.operations import LIMIT, Open, OpenOperations, Series
from rlm_otel.otel.scope import logger_of, meter_of, tracer_of
from rlm_otel.otel.scores import Scores
from rlm_otel.otel.spans import FastTracer
from rlm_otel.telemetry import Telemetry
from rlm_otel.values import present
from rlm_otel.written import Written

_OWNER: Final = "OTelCallback"
_NO_CONTEXT: Final = Context()


class Recorder:
    """The live part of an `OTelCallback`: what is open, and the tracer, instruments and logger to record with."""

    def __init__(
        self,
        telemetry: Telemetry,
        policy: Policy,
        *,
        labels: DeclaredLabels = MappingProxyType({}),
        exceptions: Signal = "span",
        events: bool = False,
        limit: int = LIMIT,
        parent: Link | None = None,
        semconv: older.Semconv = "latest",
    ) -> None:
        logger = logger_of(telemetry.logger_provider) if telemetry.logs != "none" else None
        # What may be said in the logs need not be fit for the traces, and the other way round.
        on_spans = policy if policy.on_spans else dataclasses.replace(policy, mode="none")
        on_events = policy if policy.on_events else dataclasses.replace(policy, mode="none")
        self.telemetry: Final = telemetry
        self.operations: Final = OpenOperations(limit)
        tracer = tracer_of(telemetry.tracer_provider)
        self._tracer = FastTracer(tracer)
        self._semconv = semconv
        self._metrics = Metrics(meter_of(telemetry.meter_provider), older=semconv != "latest")
        self._metrics.observer.watch(self.operations)
        self._failures = Failures(logger, exceptions, on_spans=on_spans, on_events=on_events)
        self._details = Details(logger if events else None, on_events)
        self._policy = on_spans
        self.scores: Final = Scores(logger, tracer, self._metrics, on_spans, on_events)
        self.joined: Final = telemetry.joined_traces
        self._parent = parent
        self._labels = labels
        self._closed = False
        telemetry.on_shutdown(self.close)

    def open(self, started: Started) -> Open | None:
        """Begins an operation, once; None where the caller's context asks for silence, or all is closed."""
        known = self.operations.get(started.origin.id)
        if known is not None or self._closed or is_suppressed(started.operation):
            return known
        operation = self._begin(started)
        self._put(operation)
        return operation

    def retry(self, retrying: Retrying) -> None:
        """Shows a failed attempt on its span and counts it."""
        operation = self.operations.get(retrying.origin.id)
        if operation is None:
            return
        operation.retried += 1
        if operation.span.is_recording():
            attributes = mapping.retry_attributes(retrying, self._policy)
            operation.span.add_event(sc.RETRY_EVENT, attributes, retrying.time_ns)
        self._metrics.record(measuring.retry_measurements(retrying, self._labels), operation.context)

    def finish(self, finished: Finished) -> None:
        """Ends the operation's span and records its measurements; one that is not open is ignored."""
        operation = self.operations.pop(finished.origin.id)
        if operation is None:
            return
        end_ns = operation.started.time_ns + round(finished.elapsed_s * 1e9)
        before = sys.exception()
        try:
            try:
                self._describe(operation, finished, end_ns)
            finally:
                _end(operation, end_ns)
        except Exception:  # users' redactors and span processors run in here, and the SDK lets them raise
            with fence(_OWNER, "end", before=before):
                raise
        measured = measuring.measurements(finished, self._labels, operation.retried)
        self._metrics.record(older.under(self._semconv, finished, measured), operation.context)

    def current(self, link: Link) -> AbstractContextManager[None]:
        """A block in which the span is current; private spans are never put into the application's context."""
        if not self.joined:
            return UNCHANGED
        operation = self.operations.with_span(link.span_id)
        inside = self._inside(operation) if operation is not None else trace.set_span_in_context(span_of(link))
        return Attached(inside)

    def annotate(self, link_or_id: Link | str, attributes: Mapping[str, str | bool | int | float]) -> None:
        """Sets the user's attributes on an open span, texts redacted; where it is not open any more: nothing."""
        if isinstance(link_or_id, Link):
            operation = self.operations.with_span(link_or_id.span_id)
        else:
            operation = self.operations.get(link_or_id)
        if operation is None or not operation.span.is_recording():
            return
        pairs = attributes.items()
        shown = present((name, self._policy.text(v) if isinstance(v, str) else v) for name, v in pairs)
        operation.span.set_attributes(shown)

    def close(self) -> None:
        """Ends what is open as abandoned; what finishes later is ignored."""
        self._closed = True
        while (operation := self.operations.pop_oldest()) is not None:
            self._abandon(operation)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _begin(self, started: Started) -> Open:
        parent = self.operations.get(started.origin.parent_id)
        context, links = self._place(started, parent)
        written = parent.written if parent is not None else Written()
        attributes = mapping.start_attributes(started)
        span: trace.Span = trace.INVALID_SPAN
        before = sys.exception()
        try:
            span = self._tracer.start_span(
                mapping.span_name(started.operation, started.origin),
                context,
                trace.SpanKind.CLIENT if mapping.is_client(started.operation) else trace.SpanKind.INTERNAL,
                attributes,
                links,
                started.time_ns,
            )
        except Exception:  # users' samplers and span processors run in here; metrics do not depend on them
            with fence(_OWNER, "start_span", before=before):
                raise
        if self._policy.captures and span.is_recording():
            with fence(_OWNER, "describe"):
                set_attributes(span, mapping.start_content(started, self._policy, written))
        link = link_of(span, context)
        series = self._series(started, link) if isinstance(started.operation, ModelCall) else None
        inside = trace.set_span_in_context(span, context)
        return Open(started, span, link, inside, otel_context.get_current(), attributes, written, series)

    def _place(self, started: Started, parent: Open | None) -> tuple[Context, tuple[trace.Link, ...]]:
        """Under the parent operation's span, else (joined) the caller's, else (private) a root that links to it.

        Where there is no caller's span: under the one that a carrier or the environment told of.
        """
        if started.begun_here and self.joined and trace.get_current_span().get_span_context().is_valid:
            return otel_context.get_current(), ()
        if parent is not None and parent.link is not None:
            return self._inside(parent), ()
        above, caller = started.parent, trace.get_current_span().get_span_context()
        if above is not None and above.remote and self.joined and caller.is_valid:
            above = None  # the caller's own span is nearer: it began under that one
        if above is None and not caller.is_valid:
            above = self._parent
        if above is not None:
            return trace.set_span_in_context(span_of(above), None if self.joined else _NO_CONTEXT), ()
        if self.joined:
            return otel_context.get_current(), ()
        return _NO_CONTEXT, (trace.Link(caller),) if caller.is_valid else ()

    def _inside(self, operation: Open) -> Context:
        """The caller's context with the operation's span in it: not made anew where the caller's is still the same."""
        if not self.joined or otel_context.get_current() is operation.ambient:
            return operation.context
        return trace.set_span_in_context(operation.span)

    def _series(self, started: Started, link: Link | None) -> Series:
        series = tuple(measuring.start_identity(started, self._labels).items())
        self._metrics.observer.see(series, link)
        return series

    def _put(self, operation: Open) -> None:
        oldest = self.operations.put(operation)
        if oldest is not None:
            self._abandon(oldest)
            self._metrics.drop("too_many_open")
        if self._closed:  # since it was looked at first
            self.close()

    def _describe(self, operation: Open, finished: Finished, end_ns: int) -> None:
        span, failure = operation.span, finished.failure
        recording = span.is_recording()
        detailed = self._details.wanted(operation)
        attributes = mapping.end_attributes(finished) if recording or detailed else {}
        if recording:
            set_attributes(span, attributes)
            if self._policy.captures:
                set_attributes(span, mapping.end_content(finished, self._policy, operation.written))
        if failure is not None:
            self._failures.record(operation, failure, end_ns, told=finished.passage == "passing")
        if detailed:
            self._details.emit(operation, finished, attributes, end_ns)

    def _abandon(self, operation: Open) -> None:
        """Ends the span of an operation whose end will not be seen, with what is known of it."""
        end_ns = max(SYSTEM_CLOCK.wall_ns(), operation.started.time_ns)
        recording = operation.span.is_recording()
        if recording:
            operation.span.set_attribute(sc.RLM_OUTCOME, "abandoned")
        with fence(_OWNER, "end"):
            try:
                if recording and operation.started.peek is not None:
                    self._describe(operation, operation.started.peek(), end_ns)
            finally:
                _end(operation, end_ns)


def _end(operation: Open, end_ns: int) -> None:
    """Ends the span, unless the user has."""
    if operation.span.is_recording():
        operation.span.end(end_ns)
