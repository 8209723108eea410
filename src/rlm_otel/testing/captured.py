"""Captured telemetry as plain records, and a trace as text."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedEvent:
    """A span event, such as `exception` or `rlm.retry`."""

    name: str
    attributes: dict[str, Any]
    time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedSpan:
    """A span that has ended; ids are lower-case hex, as `Link` and trace viewers have them."""

    name: str
    kind: str
    """`internal`, `client`, `server`, `producer` or `consumer`."""
    attributes: dict[str, Any]
    events: tuple[CapturedEvent, ...]
    status: Literal["unset", "ok", "error"]
    description: str | None
    """Of the status: in plain words why it is an error."""
    trace_id: str
    span_id: str
    parent_id: str | None
    """Span id of the parent, captured or not; None for a root."""
    links: tuple[tuple[str, str], ...]
    """Trace and span id of each span that it links to."""
    scope: str
    """Who made it: `rlm_otel`, or another instrumentation on the same provider."""
    start_ns: int
    end_ns: int

    @property
    def duration_s(self) -> float:
        """Seconds from its start to its end."""
        return (self.end_ns - self.start_ns) / 1e9

    def event(self, name: str) -> CapturedEvent:
        """The one event of this name; AssertionError if there is none or more."""
        found = [event for event in self.events if event.name == name]
        if len(found) != 1:
            names = ", ".join(event.name for event in self.events) or "none"
            msg = f"{len(found)} events {name!r} on span {self.name!r}; its events: {names}"
            raise AssertionError(msg)
        return found[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedLog:
    """A log record; that of an event has its name."""

    name: str | None
    body: object
    attributes: dict[str, Any]
    severity: str | None
    """Such as `WARN`."""
    trace_id: str | None
    span_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exemplar:
    """One recorded value of a metric and the span that it leads to."""

    value: int | float
    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a metric says for one set of attributes."""

    attributes: dict[str, Any]
    value: int | float
    """Of a histogram: the sum of what was recorded."""
    count: int | None = None
    """Of a histogram: how many values were recorded."""
    exemplars: tuple[Exemplar, ...] = ()


def outline(spans: Iterable[CapturedSpan], *, attributes: Collection[str] = (), by_name: bool = False) -> str:
    """Traces as text, see `Capture.outline`."""
    ordered = sorted(spans, key=lambda span: (span.name if by_name else "", span.start_ns, span.span_id))
    known = {span.span_id for span in ordered}
    below: defaultdict[str | None, list[CapturedSpan]] = defaultdict(list)
    for span in ordered:
        below[span.parent_id if span.parent_id in known else None].append(span)
    return "\n".join(_lines(below[None], below, attributes, ""))


def _lines(
    spans: Sequence[CapturedSpan],
    below: defaultdict[str | None, list[CapturedSpan]],
    attributes: Collection[str],
    indent: str,
) -> Iterator[str]:
    for span in spans:
        shown = [f"{name}={_text(span.attributes[name])}" for name in attributes if name in span.attributes]
        yield indent + " ".join([span.name, *shown, *_ending(span)])
        yield from _lines(below[span.span_id], below, attributes, indent + "  ")


def _ending(span: CapturedSpan) -> Iterator[str]:
    """How it ended, unless it simply completed."""
    outcome = span.attributes.get("rlm.outcome")
    if outcome is None and span.status != "error":  # not one of ours
        return
    if outcome in (None, "failed"):
        yield f"!{span.attributes.get('error.type', 'error')}"
    elif outcome != "completed":
        yield f"({outcome})"


def _text(value: object) -> str:
    """As short as can be on one line: quotes only where a text would not be one word."""
    if isinstance(value, str) and value and not any(c.isspace() for c in value):
        return value
    return json.dumps(value, ensure_ascii=False)
