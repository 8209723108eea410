"""The demo workload, sent over HTTP and over gRPC, is in Jaeger and in Prometheus just as the application saw it."""

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from rlm_otel import semconv as sc
from rlm_otel.received import ReceivedSpan
from rlm_otel.views.figures import by_model, is_model_call, seconds
from tests.stack.answers import Answers, eventually, outline
from tests.stack.real import RealStack
from tests.stack.workloads import Demonstrated, demonstrate

pytestmark = pytest.mark.stack

TOKENS = {
    "input": sc.INPUT_TOKENS,
    "output": sc.OUTPUT_TOKENS,
    "cached": sc.CACHE_READ_TOKENS,
    "reasoning": sc.REASONING_TOKENS,
}


@pytest.fixture(scope="module", params=["http/protobuf", "grpc"])
def sent(request: pytest.FixtureRequest, stack: RealStack) -> Demonstrated:
    """The demo's calls, made and sent once for each protocol."""
    return demonstrate(stack, request.param, service=f"demo-{request.param.partition('/')[0]}")


@pytest.fixture(scope="module")
def arrived(sent: Demonstrated, answers: Answers) -> list[ReceivedSpan]:
    """What Jaeger has of it."""
    return eventually(lambda: answers.spans(sent.service), lambda spans: len(spans) >= len(sent.spans))


def rounded(spans: Iterable[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    """Spans by id, as Jaeger keeps them in Badger: in microseconds, and a list is its JSON."""
    return {
        span.span_id: replace(
            span,
            start_ns=span.start_ns // 1000,
            end_ns=span.end_ns // 1000 - span.start_ns // 1000,
            attributes={
                name: json.dumps(value, separators=(",", ":")) if isinstance(value, tuple) else value
                for name, value in span.attributes.items()
            },
            events=tuple(replace(event, time_ns=event.time_ns // 1000) for event in span.events),
        )
        for span in spans
    }


def test_every_span_is_in_jaeger_as_it_was_emitted(sent: Demonstrated, arrived: list[ReceivedSpan]) -> None:
    """Ids, parents, names, kinds, times, statuses, resource, and every attribute and event of each."""
    there, here = rounded(arrived), rounded(sent.spans)
    assert sorted(there) == sorted(here)
    for span_id, span in here.items():
        assert abs(there[span_id].end_ns - span.end_ns) <= 1, span.name
        assert replace(there[span_id], end_ns=span.end_ns) == span


def test_parents_are_right(arrived: list[ReceivedSpan]) -> None:
    """Each of the demo's traces, as Jaeger has it; two of them run side by side."""
    assert outline(arrived) == (
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
        "invoke_agent storyteller\n"
        "  chat gpt-4o\n"
        "invoke_agent thinker\n"
        "  chat o4-mini\n"
        "invoke_agent thinker\n"
        "  chat o4-mini"
    )
    assert len({span.trace_id for span in arrived}) == 6


def test_attributes_are_right(arrived: list[ReceivedSpan]) -> None:
    """Those of a streamed call that asked for tools; times, ids, the server and the price are left out."""
    first = next(span for span in arrived if span.name == "chat gpt-4o")
    varying = ("server.", "rlm.time_to", "rlm.tokens_per", "rlm.cost.amount", "gen_ai.response.time_to")
    assert {
        name: value
        for name, value in first.attributes.items()
        if not name.startswith(varying) and name != sc.RESPONSE_ID
    } == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": '["tool_calls"]',
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": 1310,
        "gen_ai.usage.output_tokens": 46,
        "openai.api.type": "chat_completions",
        "rlm.cost.currency": "USD",
        "rlm.cost.source": "local",
        "rlm.depth": 0,
        "rlm.outcome": "completed",
        "rlm.ratelimit.request.limit": 5000,
        "rlm.ratelimit.request.remaining": 4998,
        "rlm.ratelimit.token.limit": 450000,
        "rlm.ratelimit.token.remaining": 448200,
        "rlm.request.id": "req_1",
        "rlm.turn": 1,
    }


def test_both_of_jaegers_interfaces_tell_the_same(
    sent: Demonstrated, arrived: list[ReceivedSpan], answers: Answers
) -> None:
    """The newer one, which later versions have alone, and the older one, which Grafana uses."""
    classic = answers.spans(sent.service, answers.classic)
    assert outline(classic) == outline(arrived)
    assert [(span.status, span.kind, span.attributes) for span in classic] == [
        (span.status, span.kind, span.attributes) for span in arrived
    ]


def test_calls_tokens_cost_and_errors_are_equal_everywhere(
    sent: Demonstrated, arrived: list[ReceivedSpan], answers: Answers
) -> None:
    """By the application's own count, in Prometheus, and summed over the spans in Jaeger; model by model."""
    models = sent.counts.summary()["models"]
    own = {
        name: {
            "calls": one["calls"],
            "errors": one["errors"],
            "retries": one["retries"],
            "cost": round(one["cost_usd"], 9),
            "unpriced": one["unpriced_calls"],
            **one["tokens"],
        }
        for name, one in models.items()
    }
    spans = {
        one.model: {
            "calls": one.calls,
            "errors": one.errors,
            "retries": one.retries,
            "cost": round(one.cost_usd or 0, 9),
            "unpriced": one.unpriced,
            **{kind: getattr(one.tokens, kind) for kind in TOKENS},
        }
        for one in by_model(arrived)
    }
    assert {name: one["calls"] for name, one in own.items()} == {"gpt-4o": 4, "gpt-4o-mini": 3, "o4-mini": 2}
    assert spans == own
    assert eventually(lambda: in_prometheus(answers, sent.service, list(own)), lambda found: found == own) == own


def in_prometheus(answers: Answers, service: str, models: list[str]) -> dict[str, dict[str, float]]:
    """The same figures from the counters."""

    def counted(counter: str, matchers: str = "") -> dict[tuple[str, ...], float]:
        return answers.counted(counter, service, sc.REQUEST_MODEL, matchers=matchers)

    calls, attempts = counted(sc.OPERATIONS), counted(sc.ATTEMPTS)
    failed = counted(sc.OPERATIONS, ', rlm_outcome="failed"')
    cost, unpriced = counted(sc.COST), counted(sc.UNPRICED)
    tokens = {kind: counted(name) for kind, name in TOKENS.items()}
    return {
        model: {
            "calls": calls.get(key, 0),
            "errors": failed.get(key, 0),
            "retries": attempts.get(key, 0) - calls.get(key, 0),
            "cost": round(cost.get(key, 0), 9),
            "unpriced": unpriced.get(key, 0),
            **{kind: counts.get(key, 0) for kind, counts in tokens.items()},
        }
        for model, key in ((model, (model,)) for model in models)
    }


def test_an_exemplar_is_the_very_call(sent: Demonstrated, arrived: list[ReceivedSpan], answers: Answers) -> None:
    """From a bucket of the latency to a span in Jaeger that took just as long."""
    calls = {(span.trace_id, span.span_id): span for span in arrived if is_model_call(span)}
    query = f'gen_ai_client_inference_duration_seconds_bucket{{service_name="{sent.service}"}}'
    start_s = min(span.start_ns for span in arrived) / 1e9
    found = eventually(
        lambda: answers.get("query_exemplars", query=query, start=start_s - 60, end=start_s + 600),
        lambda series: sum(len(one["exemplars"]) for one in series) >= 3,
    )
    exemplars = [exemplar for one in found for exemplar in one["exemplars"]]
    assert len(exemplars) >= 3
    for exemplar in exemplars:
        call = calls[exemplar["labels"]["trace_id"], exemplar["labels"]["span_id"]]
        assert seconds(call) == pytest.approx(float(exemplar["value"]), abs=2e-6)
