"""Front, gateway, Kafka, ingester, OpenSearch and a Jaeger that only shows: what goes in comes out, as it was."""

import json
from collections.abc import Iterable
from typing import Final

import pytest

from rlm_otel import semconv as sc
from rlm_otel.received import ReceivedSpan
from tests.scale.scaled import ScaledStack
from tests.stack.answers import Answers, eventually, outline
from tests.stack.made import SPANS, mixed, scatter, wait_for
from tests.stack.workloads import demonstrate

pytestmark = pytest.mark.scale

KEPT: Final = (
    "invoke_agent planner\n"
    "  chat gpt-4o\n"
    "  execute_tool get_weather\n"
    "  execute_tool ask_guide\n"
    "    invoke_agent planner\n"
    "      chat gpt-4o-mini\n"
    "      execute_tool opening_hours\n"
    "      chat gpt-4o-mini\n"
    "  chat gpt-4o\n"
    "invoke_agent translator\n"
    "  chat gpt-4o-mini\n"
    "invoke_agent historian\n"
    "  chat gpt-4o\n"
    "invoke_agent thinker\n"
    "  chat o4-mini\n"
    "invoke_agent thinker\n"
    "  chat o4-mini"
)
"""Of the demo's six runs those with a price: the storyteller's is closed before its cost is known."""


@pytest.mark.parametrize(("number", "protocol"), [(0, "http/protobuf"), (1, "grpc")], ids=["front-1", "front-2"])
def test_the_demo_goes_through_every_tier(scaled: ScaledStack, answers: Answers, number: int, protocol: str) -> None:
    """Every span with its parent and attributes in Jaeger, every call counted in Prometheus."""
    shown = demonstrate(scaled.tiers.fronts[number], protocol, service=f"chain-{number}")
    found = eventually(lambda: answers.spans(shown.service), lambda spans: len(spans) >= 17)
    assert outline(found) == KEPT
    assert facts(found) == facts(span for span in shown.spans if span.trace_id in {one.trace_id for one in found})
    calls = {(name,): float(one["calls"]) for name, one in shown.counts.summary()["models"].items()}
    counted = eventually(
        lambda: answers.counted(sc.OPERATIONS, shown.service, sc.REQUEST_MODEL), lambda counted: counted == calls
    )
    assert counted == calls


def facts(spans: Iterable[ReceivedSpan]) -> dict[str, tuple[object, ...]]:
    """Of each span by its id: what belongs together, what it was and how it ended; a list is kept as its JSON."""
    return {
        span.span_id: (
            *(span.trace_id, span.parent_id, span.name, span.kind, span.status),
            {
                name: json.dumps(value, separators=(",", ":")) if isinstance(value, tuple) else value
                for name, value in span.attributes.items()
            },
            [event.name for event in span.events],
        )
        for span in spans
    }


def test_sampling_keeps_what_matters_and_metrics_count_all(scaled: ScaledStack, answers: Answers) -> None:
    """600 traces scattered over two fronts: each is on one gateway, what matters is kept whole, every span counted."""
    tiers, service, traces = scaled.tiers, "chain-sampled", mixed(seed=1)
    before = sum(tiers.seen())
    scatter(tiers.entrances, service, traces)
    matter = {trace.trace_id for trace in traces if trace.kind != "plain"}
    eventually(tiers.decided, lambda count: count == before + len(traces))
    found = wait_for(answers, service, matter)
    assert matter - set(found) == set()
    assert len(set(found) - matter) == 45
    assert set(found.values()) == {SPANS}
    assert sum(tiers.seen()) == before + len(traces)
    expression = f'sum(traces_span_metrics_calls_total{{service_name="{service}"}})'
    assert eventually(lambda: [one.value for one in answers.at(expression)], lambda sums: sums == [3000]) == [3000]
