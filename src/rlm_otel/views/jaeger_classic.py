"""Jaeger's older API, `/api/traces`: all of v1, and v2 before 2.21. It can search by attributes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NotRequired, TypedDict, cast

from rlm_otel.received import Attributes, ReceivedEvent, ReceivedSpan
from rlm_otel.views.backend import Backend
from rlm_otel.views.traces import Search

# Jaeger turns fields of OTLP into attributes under these names; here they become fields again.
_KIND: Final = "span.kind"
_STATUS: Final = "otel.status_code"
_STATUS_MESSAGE: Final = "otel.status_description"
_SCOPES: Final = ("otel.scope.name", "otel.library.name")
_OURS: Final = frozenset(
    {_KIND, _STATUS, _STATUS_MESSAGE, "error", *_SCOPES, "otel.scope.version", "internal.span.format"}
)


class _Tag(TypedDict):
    key: str
    type: Literal["string", "bool", "int64", "float64", "binary"]
    value: str | bool | int | float


class _Reference(TypedDict):
    refType: Literal["CHILD_OF", "FOLLOWS_FROM"]
    traceID: str
    spanID: str


class _Log(TypedDict):
    timestamp: int
    fields: list[_Tag]


class _Span(TypedDict):
    """Times in microseconds."""

    traceID: str
    spanID: str
    operationName: str
    references: NotRequired[list[_Reference] | None]
    startTime: int
    duration: int
    tags: NotRequired[list[_Tag] | None]
    logs: NotRequired[list[_Log] | None]
    processID: str


class _Process(TypedDict):
    serviceName: str
    tags: NotRequired[list[_Tag] | None]


class _Trace(TypedDict):
    spans: list[_Span]
    processes: dict[str, _Process]


class ClassicApi:
    """Asks one Jaeger."""

    def __init__(self, jaeger: Backend) -> None:
        self._jaeger = jaeger

    def services(self) -> list[str]:
        """Who has sent spans."""
        names = self._data("/api/services", {})
        if not all(isinstance(name, str) for name in names):
            raise self._jaeger.strange()
        return cast("list[str]", names)

    def find(self, search: Search) -> list[ReceivedSpan]:
        """All spans of the newest traces that have all the attributes."""
        parameters = {
            "service": search.service,
            "start": str(search.start_ns // 1000),
            "end": str(search.end_ns // 1000),
            "limit": str(search.depth),
        }
        if search.attributes:
            parameters["tags"] = json.dumps(search.attributes)
        if search.min_duration is not None:
            parameters["minDuration"] = search.min_duration
        return self._spans(self._data("/api/traces", parameters))

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """All spans of one trace."""
        return self._spans(self._data(f"/api/traces/{trace_id}", {}))

    def _data(self, path: str, parameters: dict[str, str]) -> Sequence[object]:
        match self._jaeger.ask(path, parameters):
            case {"data": list(data)}:
                return data
            case {"data": None}:
                return []
        raise self._jaeger.strange()

    def _spans(self, traces: Sequence[object]) -> list[ReceivedSpan]:
        try:
            return [span for trace in cast("Sequence[_Trace]", traces) for span in _read(trace)]
        except (AttributeError, LookupError, TypeError, ValueError):
            raise self._jaeger.strange() from None


def _read(trace: _Trace) -> Iterator[ReceivedSpan]:
    resources: dict[str, Attributes] = {
        key: {**_values(process.get("tags")), "service.name": process["serviceName"]}
        for key, process in trace["processes"].items()
    }
    for span in trace["spans"]:
        yield _span(span, resources[span["processID"]])


def _span(span: _Span, resource: Attributes) -> ReceivedSpan:
    tags = _values(span.get("tags"))
    start_ns = span["startTime"] * 1000
    failed = tags.get("error") in (True, "true")
    return ReceivedSpan(
        trace_id=span["traceID"].zfill(32),
        span_id=span["spanID"].zfill(16),
        parent_id=_parent(span),
        name=span["operationName"],
        kind=str(tags.get(_KIND, "internal")),
        start_ns=start_ns,
        end_ns=start_ns + span["duration"] * 1000,
        attributes={key: value for key, value in tags.items() if key not in _OURS},
        status="error" if failed else str(tags.get(_STATUS, "unset")).lower(),
        status_message=str(tags.get(_STATUS_MESSAGE, "")),
        events=tuple(map(_event, span.get("logs") or ())),
        resource=resource,
        scope=next((str(tags[name]) for name in _SCOPES if name in tags), ""),
    )


def _parent(span: _Span) -> str | None:
    """The parent in the same trace: links to other traces are references too."""
    parents = (
        it["spanID"].zfill(16)
        for it in span.get("references") or ()
        if it["refType"] == "CHILD_OF" and it["traceID"].zfill(32) == span["traceID"].zfill(32)
    )
    return next(parents, None)


def _event(log: _Log) -> ReceivedEvent:
    fields = _values(log["fields"])
    return ReceivedEvent(name=str(fields.pop("event", "")), time_ns=log["timestamp"] * 1000, attributes=fields)


def _values(tags: Iterable[_Tag] | None) -> Attributes:
    return {tag["key"]: _value(tag) for tag in tags or ()}


def _value(tag: _Tag) -> object:
    """Numbers that JavaScript cannot hold come as text."""
    if tag.get("type") == "int64":
        return int(tag["value"])
    return float(tag["value"]) if tag.get("type") == "float64" else tag["value"]
