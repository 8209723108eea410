"""Traces made by hand: what decides whether one is kept is known beforehand, and where each of its spans is sent."""

import random
import time
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from rlm_otel import semconv as sc
from tests.stack.answers import Answers, eventually

Kind = Literal["plain", "failed", "slow", "expensive"]
SPANS: Final = 5
"""In each trace: a run, and four calls in it."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace; its calls come first, as in a real export."""

    kind: Kind
    trace_id: str
    spans: tuple[Span, ...]


def make(kind: Kind, count: int, seed: int) -> list[Trace]:
    """So many traces of a kind; the same seed gives the same ids, and so the same decisions."""
    numbers = random.Random(f"{kind} {seed}")
    return [_make(kind, numbers.randbytes(16), numbers) for _ in range(count)]


def mixed(seed: int) -> list[Trace]:
    """600 traces of all kinds in some order; 100 of them matter."""
    traces = [*make("failed", 40, seed), *make("slow", 30, seed), *make("expensive", 30, seed)]
    traces += make("plain", 500, seed)
    random.Random(seed).shuffle(traces)
    return traces


def _make(kind: Kind, trace_id: bytes, numbers: random.Random) -> Trace:
    end_ns = time.time_ns()
    start_ns = end_ns - (25 if kind == "slow" else 2) * 10**9
    ids = [numbers.randbytes(8) for _ in range(SPANS)]

    def span(number: int, name: str, start_ns: int, end_ns: int) -> Span:
        return Span(
            trace_id=trace_id,
            span_id=ids[number],
            name=name,
            kind=Span.SPAN_KIND_CLIENT if number else Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=start_ns,
            end_time_unix_nano=end_ns,
            parent_span_id=ids[0] if number else b"",
        )

    run = span(0, "invoke_agent run", start_ns, end_ns)
    calls = [span(number, "chat gpt-4o", start_ns, start_ns + 10**9) for number in range(1, SPANS)]
    if kind == "failed":  # a call in it; the run itself went on
        calls[0].status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))
    if kind == "expensive":
        run.attributes.append(KeyValue(key=sc.RLM_COST_AMOUNT, value=AnyValue(double_value=0.75)))
    return Trace(kind, trace_id.hex(), (*calls, run))


def send(collector_http: str, service: str, spans: Iterable[Span]) -> None:
    """Send spans in one request; raises when they are not accepted."""
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=service))])
    request = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=resource, scope_spans=[ScopeSpans(spans=spans)])]
    )
    headers = {"Content-Type": "application/x-protobuf"}
    body = request.SerializeToString()
    with urllib.request.urlopen(
        urllib.request.Request(f"{collector_http}/v1/traces", body, headers), timeout=10
    ) as answer:
        assert answer.status == 200


def scatter(collectors: Sequence[str], service: str, traces: Sequence[Trace], at_once: int = 20) -> None:
    """Send the first half of each trace to one collector and the rest to another, `at_once` traces in a request."""
    for number in range(0, len(traces), at_once):
        some = traces[number : number + at_once]
        first, second = (collectors[(number // at_once + turn) % len(collectors)] for turn in (0, 1))
        send(first, service, [span for trace in some for span in trace.spans[:2]])
        send(second, service, [span for trace in some for span in trace.spans[2:]])


def spans_by_trace(answers: Answers, service: str) -> dict[str, int]:
    """How many spans Jaeger has of each trace."""
    found: dict[str, int] = {}
    for span in answers.spans(service):
        found[span.trace_id] = found.get(span.trace_id, 0) + 1
    return found


def wait_for(answers: Answers, service: str, wanted: set[str]) -> dict[str, int]:
    """Spans by trace, as soon as these are there and whole."""
    return eventually(
        lambda: spans_by_trace(answers, service),
        lambda found: all(found.get(trace_id) == SPANS for trace_id in wanted),
        timeout_s=40,
    )
