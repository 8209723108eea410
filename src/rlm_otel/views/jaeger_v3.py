"""Jaeger's newer API, `/api/v3`, which answers in OTLP: the only one that can search since 2.21."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]  # it has no types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rlm_otel.received import ReceivedSpan, read_spans
from rlm_otel.views.backend import Backend, Refused
from rlm_otel.views.traces import Search


class V3Api:
    """Asks one Jaeger."""

    def __init__(self, jaeger: Backend) -> None:
        self._jaeger = jaeger

    def services(self) -> list[str]:
        """Who has sent spans."""
        match self._jaeger.ask("/api/v3/services", {}):
            case {"services": list(names)} if all(isinstance(name, str) for name in names):
                return names
            case {} as answer if not answer:  # protobuf leaves out what is empty
                return []
        raise self._jaeger.strange()

    def find(self, search: Search) -> list[ReceivedSpan]:
        """All spans of the newest traces; a Jaeger that cannot search by attributes leaves them out of account."""
        parameters = {
            "query.service_name": search.service,
            "query.start_time_min": _rfc3339(search.start_ns),
            "query.start_time_max": _rfc3339(search.end_ns),
            "query.num_traces": str(search.depth),
        }
        if search.attributes:
            parameters["query.attributes"] = json.dumps(search.attributes)
        if search.min_duration is not None:
            parameters["query.duration_min"] = search.min_duration
        try:
            return self._spans(self._jaeger.ask("/api/v3/traces", parameters))
        except Refused as refused:
            if refused.status == 404:  # this is how it says that there are none
                return []
            raise

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """All spans of one trace."""
        return self._spans(self._jaeger.ask(f"/api/v3/traces/{trace_id}", {}))

    def _spans(self, answer: object) -> list[ReceivedSpan]:
        try:
            match answer:
                case {"result": {"resourceSpans": list(groups)}}:
                    export = {"resourceSpans": [_group(group) for group in groups]}
                    request = ParseDict(export, ExportTraceServiceRequest(), ignore_unknown_fields=True)
                    return list(read_spans(request))
                case {"result": _}:
                    return []
        except (AttributeError, KeyError, ParseError, TypeError, ValueError):
            raise self._jaeger.strange() from None
        raise self._jaeger.strange()


def _group(group: Mapping[str, list[Mapping[str, list[dict[str, str]]]]]) -> dict[str, object]:
    """A resource's spans with ids as protobuf's JSON has them: OTLP's has hex, protobuf's base64."""
    scopes = [
        {**scope, "spans": [_with_ids(span) for span in scope.get("spans", ())]}
        for scope in group.get("scopeSpans", ())
    ]
    return {**group, "scopeSpans": scopes}


def _with_ids(span: Mapping[str, str]) -> dict[str, str]:
    ids = {
        name: base64.b64encode(bytes.fromhex(span[name])).decode()
        for name in ("traceId", "spanId", "parentSpanId")
        if name in span
    }
    return {**{name: value for name, value in span.items() if name != "links"}, **ids}


def _rfc3339(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
