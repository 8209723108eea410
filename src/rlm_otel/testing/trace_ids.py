"""Trace and span ids that are the same in every run of a test."""

import itertools

from opentelemetry.sdk.trace.id_generator import IdGenerator


class NumberedTraceIds(IdGenerator):
    """Numbers traces and, apart from them, spans: 1, 2, 3... or from another `first`, to tell two providers apart."""

    def __init__(self, first: int = 1) -> None:
        self._traces = itertools.count(first)
        self._spans = itertools.count(first)

    def generate_trace_id(self) -> int:
        """The next trace id."""
        return next(self._traces)

    def generate_span_id(self) -> int:
        """The next span id."""
        return next(self._spans)
