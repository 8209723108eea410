"""Which traces are wanted, and what a trace is, whichever API it comes from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rlm_otel import semconv as sc
from rlm_otel.received import ReceivedSpan
from rlm_otel.views.figures import is_model_call, seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Traces that have a span of the service to which all of this applies, as Jaeger's own search has it."""

    start_ns: int
    end_ns: int
    errors: bool = False
    """It failed or was cancelled."""
    slow_s: float | None = None
    """It took at least this long."""
    model: str | None = None
    """It is a call of this model."""

    @property
    def everything(self) -> bool:
        """Whether nothing but the time is asked for."""
        return not self.errors and self.slow_s is None and self.model is None

    @property
    def attributes(self) -> dict[str, str]:
        """What Jaeger can look for by itself. Not every store of it knows `error`, which is no attribute of a span."""
        error = {"error": "true"} if self.errors else {}
        return error if self.model is None else {**error, sc.REQUEST_MODEL: self.model}

    def fits(self, span: ReceivedSpan) -> bool:
        """Whether it is such a span."""
        return (
            (not self.errors or span.status == "error")
            and (self.slow_s is None or seconds(span) >= self.slow_s)
            and (self.model is None or (is_model_call(span) and span.attributes.get(sc.REQUEST_MODEL) == self.model))
        )


@dataclass(frozen=True, slots=True)
class Trace:
    """All spans of one trace that Jaeger has."""

    trace_id: str
    spans: tuple[ReceivedSpan, ...]

    @property
    def start_ns(self) -> int:
        """When its first span began."""
        return min(span.start_ns for span in self.spans)

    @property
    def duration_s(self) -> float:
        """From the first beginning to the last end."""
        return (max(span.end_ns for span in self.spans) - self.start_ns) / 1e9

    @property
    def services(self) -> tuple[str, ...]:
        """Who took part, in the order in which they came in."""
        in_order = sorted(self.spans, key=lambda span: span.start_ns)
        return tuple(dict.fromkeys(service_of(span) for span in in_order))


@dataclass(frozen=True, slots=True)
class Found:
    """Traces, the newest last."""

    traces: tuple[Trace, ...]
    services: tuple[str, ...] = ()
    """Where they were looked for."""
    depth: int = 0
    """How many of each service were looked at, at most."""
    cut: bool = False
    """Whether that was too few to find as many as were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One question to Jaeger."""

    service: str
    start_ns: int
    end_ns: int
    depth: int
    """How many traces at most."""
    min_duration: str | None
    attributes: Mapping[str, str]


class Api(Protocol):
    """One of Jaeger's APIs."""

    def services(self) -> list[str]:
        """Who has sent spans."""

    def find(self, search: Search) -> list[ReceivedSpan]:
        """All spans of the newest traces that it finds, which it may have chosen by less than all of this."""

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """All spans of one trace; none if it is not there."""


def by_trace(spans: Iterable[ReceivedSpan]) -> list[Trace]:
    """The spans of each trace together."""
    grouped: dict[str, list[ReceivedSpan]] = {}
    for span in spans:
        grouped.setdefault(span.trace_id, []).append(span)
    return [Trace(trace_id, tuple(group)) for trace_id, group in grouped.items()]


def service_of(span: ReceivedSpan) -> str:
    """Who sent it."""
    return str(span.resource.get("service.name", ""))
