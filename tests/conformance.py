"""Holds everything we emit against the GenAI conventions (tests/data/genai-registry.json) and our own few names.

    found = violations(exporter.get_finished_spans(), [reader.get_metrics_data()], log_exporter.get_finished_logs())
    assert found == []

Only what comes from the scope `rlm_otel` is looked at: an application's own spans beside ours are its own business.
On our spans names under `app.` stand for what a user's code put there (`annotate`, `set_attribute`) and pass.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import MetricsData
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import StatusCode

from tests.conformance_attributes import REGISTRY, attribute_violations, declared, needed
from tests.conformance_metrics import metric_violations

OUTCOMES: Final = {"completed": False, "closed": False, "abandoned": False, "cancelled": True, "failed": True}
"""Every `rlm.outcome`, and whether the operation then ended in an error."""

EXCEPTION: Final = {"exception.type", "exception.message", "exception.stacktrace", "exception.escaped"}


def violations(
    spans: Iterable[ReadableSpan] = (),
    metrics: Iterable[MetricsData | None] = (),
    logs: Iterable[ReadableLogRecord] = (),
    *,
    legacy: bool = False,
) -> list[str]:
    """One line for each broken rule; empty when all is well.

    `metrics` takes what `InMemoryMetricReader.get_metrics_data()` returned, once or several times. `legacy=True` admits
    the older metric names as well, for what was recorded under `semconv="legacy"` or `"both"`.
    """
    found: list[str] = []
    for span in spans:
        if _ours(span.instrumentation_scope):
            found += [f"span {span.name!r}: {problem}" for problem in _span(span)]
    for log in logs:
        if _ours(log.instrumentation_scope):
            found += [f"log {log.log_record.event_name!r}: {problem}" for problem in _log(log)]
    for data in metrics:
        for scope in (s for r in (data.resource_metrics if data else ()) for s in r.scope_metrics if _ours(s.scope)):
            found += [f"metrics: {problem}" for problem in _scope(scope.scope)]
            for metric in scope.metrics:
                found += [f"metric {metric.name!r}: {problem}" for problem in metric_violations(metric, legacy=legacy)]
    return found


def _ours(scope: InstrumentationScope | None) -> bool:
    return scope is not None and scope.name.split(".")[0] == "rlm_otel"


def _scope(scope: InstrumentationScope | None) -> Iterator[str]:
    expected = REGISTRY["meta"]["schema_url"]
    if scope is not None and scope.schema_url != expected:
        yield f"schema_url is {scope.schema_url!r}, not {expected!r}"


def _span(span: ReadableSpan) -> Iterator[str]:
    attributes = span.attributes or {}
    yield from _scope(span.instrumentation_scope)
    yield from _status(span, attributes)
    for event in span.events:
        yield from (f"span event {event.name!r}: {problem}" for problem in _span_event(event))
    kind = span.kind.name.lower()
    span_type = _span_type(attributes, kind)
    if span_type is None:
        if "gen_ai.operation.name" in attributes:
            yield f"operation {attributes['gen_ai.operation.name']!r} is not known"
        elif not span.name.startswith("rlm."):
            yield "neither gen_ai.operation.name nor a name under rlm."
        yield from attribute_violations(attributes, None, user=True)
        return
    definition = REGISTRY["spans"][span_type]
    if kind not in definition["kinds"]:
        yield f"kind {kind}, not one of {definition['kinds']}"
    yield from _name(span.name, definition["names"], attributes)
    yield from attribute_violations(attributes, declared(span_type, attributes), user=True)
    yield from _outcome(span, attributes)
    done = attributes.get("rlm.outcome") == "completed" and "gen_ai.usage.input_tokens" in attributes
    for name in needed(span_type, attributes, recommended=done):
        if name not in attributes:
            yield f"{name} is missing"


def _span_type(attributes: Mapping[str, Any], kind: str) -> str | None:
    """The registry's id for this span: not on the wire, so told by operation and kind."""
    if "mcp.method.name" in attributes and kind in ("client", "server"):
        return f"mcp.{kind}"
    operation = attributes.get("gen_ai.operation.name")
    types = [name for name, span in REGISTRY["spans"].items() if operation in span["operations"]]
    return next((name for name in types if kind in REGISTRY["spans"][name]["kinds"]), types[0] if types else None)


def _name(name: str, formats: list[str], attributes: Mapping[str, Any]) -> Iterator[str]:
    """The first format whose attributes are all there is the right one."""
    for form in formats:
        if all(key in attributes for key in re.findall(r"{([^}]+)}", form)):
            expected = re.sub(r"{([^}]+)}", lambda found: str(attributes[found[1]]), form)
            if name != expected:
                yield f"the name should be {expected!r}"
            return
    yield f"the name fits none of {formats}"


def _status(span: ReadableSpan, attributes: Mapping[str, Any]) -> Iterator[str]:
    code = span.status.status_code
    if code is StatusCode.OK:
        yield "status OK is for applications"
    if (code is StatusCode.ERROR) != ("error.type" in attributes):
        yield f"status {code.name} with error.type {attributes.get('error.type')!r}: both or neither"
    if span.status.description is not None and span.status.description == attributes.get("error.type"):
        yield "the status description only repeats error.type"


def _outcome(span: ReadableSpan, attributes: Mapping[str, Any]) -> Iterator[str]:
    outcome = attributes.get("rlm.outcome")
    if outcome not in OUTCOMES:
        yield f"rlm.outcome {outcome!r} is not one of {list(OUTCOMES)}"
    elif OUTCOMES[outcome] != (span.status.status_code is StatusCode.ERROR):
        yield f"rlm.outcome {outcome!r} with status {span.status.status_code.name}"


def _span_event(event: Event) -> Iterator[str]:
    attributes = event.attributes or {}
    if event.name == "exception":
        if not attributes.keys() & {"exception.type", "exception.message"}:
            yield "neither exception.type nor exception.message"
        # `record_exception` of the SDK, which a user may call on our span, adds the deprecated exception.escaped.
        known = {name: value for name, value in attributes.items() if name != "exception.escaped"}
        yield from attribute_violations(known, EXCEPTION, user=True)
    elif event.name.startswith("rlm."):
        yield from attribute_violations(attributes, None, user=False)
    elif not event.name.startswith("app."):
        yield "neither `exception` nor a name under rlm."


def _log(log: ReadableLogRecord) -> Iterator[str]:
    record = log.log_record
    attributes: Mapping[str, Any] = record.attributes or {}
    yield from _scope(log.instrumentation_scope)
    event = record.event_name or ""
    definition = REGISTRY["events"].get(event)
    if event.endswith((".details", ".exception")) and not (record.trace_id and record.span_id):
        yield "belongs to no span"
    if definition is None:
        if not event.startswith("rlm."):
            yield "not an event of the conventions, and not under rlm."
        yield from attribute_violations(attributes, None, user=False, structured=True)
        return
    severity = definition.get("severity_number")
    actual = record.severity_number.value if record.severity_number else None
    if severity is not None and actual != severity:
        yield f"severity {actual}, not {severity}"
    allowed = set(definition["attributes"])
    if event == "gen_ai.client.operation.exception":
        if not attributes.keys() & {"exception.type", "exception.message"}:
            yield "neither exception.type nor exception.message"
        span_type = _span_type(attributes, "client")  # it may repeat the attributes of the client span
        allowed |= declared(span_type, attributes) if span_type else set()
    if event == "gen_ai.client.inference.operation.details":
        allowed |= declared("gen_ai.client.inference", attributes)
    yield from attribute_violations(attributes, allowed, user=False, structured=True)
    for name, attribute in definition["attributes"].items():
        if attribute["requirement"] == "required" and name not in attributes:
            yield f"{name} is missing"
