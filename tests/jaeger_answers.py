"""What Jaeger answers about one trace of three spans, in the words of either of its APIs."""

from typing import Any

from click.testing import CliRunner, Result

from rlm_otel.views.cli import traces
from tests.fake_backend import Answers, FakeBackend, Reply

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
START_US = 1_795_604_017_000_000


def tag(key: str, value: str | bool | int | float) -> dict[str, object]:
    kinds = {str: "string", bool: "bool", int: "int64", float: "float64"}
    return {"key": key, "type": kinds[type(value)], "value": value}


def classic_span(
    number: int, name: str, parent: int | None = None, *, error: bool = False, **more: Any
) -> dict[str, Any]:
    """A span that began `number` milliseconds after the first and took 100 ms; `more`: attributes, `_` for `.`."""
    references = [{"refType": "CHILD_OF", "traceID": ID, "spanID": f"{parent or 0:016x}"}]
    failed = [tag("error", True), tag("otel.status_code", "ERROR"), tag("otel.status_description", "oops")]
    return {
        "traceID": ID,
        "spanID": f"{number:016x}",
        "operationName": name,
        "references": [] if parent is None else references,
        "startTime": START_US + number * 1000,
        "duration": 100_000,
        "tags": [
            *(failed if error else []),
            tag("otel.scope.name", "rlm_otel"),
            tag("span.kind", "client"),
            *(tag(key, value) for key, value in more.pop("tags", {}).items()),
        ],
        "logs": more.pop("logs", []),
        "processID": "p1",
        "warnings": None,
    }


def trace_of(*spans: dict[str, Any], service: str = "поиск") -> dict[str, Any]:
    process = {"serviceName": service, "tags": [tag("telemetry.sdk.language", "python")]}
    return {"traceID": spans[0]["traceID"], "spans": list(spans), "processes": {"p1": process}, "warnings": None}


def classic(*spans: dict[str, Any]) -> Reply:
    data = [trace_of(*spans)] if spans else []
    return Reply({"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None})


CALL = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", "rlm.outcome": "completed"}
USED = {**CALL, "gen_ai.usage.input_tokens": 1310, "gen_ai.usage.output_tokens": 46, "rlm.cost.amount": 0.003735}
FAILED = {**CALL, "rlm.outcome": "failed", "error.type": "openai.BadRequestError", "rlm.http.status_code": 400}
RUN = {"gen_ai.operation.name": "invoke_agent", "rlm.outcome": "failed"}
RETRY = {"timestamp": START_US, "fields": [tag("event", "rlm.retry"), tag("rlm.http.status_code", 429)]}
SPANS = (
    classic_span(3, "chat gpt-4o", 1, tags=FAILED, error=True),
    classic_span(1, "invoke_agent planner", tags=RUN, error=True),
    classic_span(2, "chat gpt-4o", 1, tags=USED, logs=[RETRY]),
)
SERVICES = Reply({"data": ["jaeger", "поиск"], "total": 2, "limit": 0, "offset": 0, "errors": None})
V3_NONE = Reply({"error": {"httpCode": 404, "message": "No traces found"}}, 404)


def v3_span(number: int, name: str, parent: int | None = None, **more: Any) -> dict[str, Any]:
    start_ns = (START_US + number * 1000) * 1000
    values: dict[type, str] = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}
    attributes = [
        {"key": key, "value": {values[type(value)]: str(value) if type(value) is int else value}}
        for key, value in more.pop("tags", {}).items()
    ]
    return {
        "traceId": ID,
        "spanId": f"{number:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + 100_000_000),
        "attributes": attributes,
        "status": {"code": 2, "message": "oops"} if more.pop("error", False) else {},
        "links": [{"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1"}],
        **more,
    }


def v3(*spans: dict[str, Any]) -> Reply:
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "поиск"}}]}
    scope = {"scope": {"name": "rlm_otel"}, "spans": list(spans)}
    return Reply({"result": {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}})


V3_RETRY = {
    "name": "rlm.retry",
    "timeUnixNano": "1",
    "attributes": [{"key": "rlm.http.status_code", "value": {"intValue": "429"}}],
}
V3_SPANS = (
    v3_span(3, "chat gpt-4o", 1, tags=FAILED, error=True),
    v3_span(1, "invoke_agent planner", tags=RUN, error=True),
    v3_span(2, "chat gpt-4o", 1, tags=USED, events=[V3_RETRY]),
)
V3_SERVICES = Reply({"services": ["поиск", "jaeger"]})
CLASSIC: Answers = {"/api/services": SERVICES, "/api/traces": classic(*SPANS), f"/api/traces/{ID}": classic(*SPANS)}
V3: Answers = {
    "/api/v3/services": V3_SERVICES,
    "/api/v3/traces": v3(*V3_SPANS),
    f"/api/v3/traces/{ID}": v3(*V3_SPANS),
}


def run(jaeger: FakeBackend, *arguments: str) -> Result:
    return CliRunner().invoke(traces, ["--jaeger", jaeger.url, *arguments])


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]
