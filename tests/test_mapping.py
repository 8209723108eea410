"""Events become names, attributes and measurements: literal in, literal out, and held against the registry."""

from dataclasses import replace

import pytest

from rlm_otel import mapping
from rlm_otel.content import Policy, Redactor
from rlm_otel.events import Finished, ModelCall, Operation, Origin, Request, Retrying, Run, Started, ToolCall
from rlm_otel.instruments import INSTRUMENTS
from rlm_otel.mapping import Attributes
from rlm_otel.messages import Message, Text, ToolDefinition
from rlm_otel.outcome import Cost, Failure, RateLimit, Reply, RunResult, ToolResult, Unpriced, Usage
from tests.conformance_attributes import REGISTRY, attribute_violations, declared
from tests.conformance_metrics import LONGER, OWN

ORIGIN = Origin(
    id="2",
    parent_id="1",
    root_id="1",
    run_id="1",
    depth=1,
    agent="агент",
    conversation="c-7",
    labels=(("team", "поиск"), ("feature", "chat")),
)
FULL = Request(
    temperature=0,
    top_p=0.5,
    max_tokens=10,
    frequency_penalty=0.1,
    presence_penalty=0.2,
    stop=("стоп",),
    seed=7,
    choices=2,
    output_type="json",
    reasoning_level="low",
    service_tier="default",
)
CALL = ModelCall(provider="openai", model="gpt-x", server_address="api.openai.com", server_port=443)
REPLY = Reply(finish_reasons=("stop",), id="r1", model="gpt-x-1", messages=(Message("assistant", (Text("да"),)),))
FAILURE = Failure(
    type="openai.BadRequestError",
    message="bad prompt: тайна",
    status=400,
    code="invalid_request",
    request_id="req_1",
    retry_after_s=2,
)
DECLARED = {"team": ("search",), "feature": ("chat",)}


def started(operation: Operation, origin: Origin = ORIGIN) -> Started:
    return Started(origin=origin, time_ns=0, monotonic_ns=0, operation=operation)


def finished(operation: Operation = CALL, **parts: object) -> Finished:
    known: dict[str, object] = {"outcome": "completed", "elapsed_s": 2.0, "attempts": 1, **parts}
    return Finished(origin=ORIGIN, time_ns=0, monotonic_ns=0, operation=operation, **known)  # type: ignore[arg-type]


def measured(event: Finished, retried: int = 0) -> dict[str, list[tuple[float, Attributes]]]:
    found: dict[str, list[tuple[float, Attributes]]] = {}
    for one in mapping.measurements(event, DECLARED, retried):
        found.setdefault(one.instrument, []).append((one.value, one.attributes))
    return found


# Spans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        (Run(), "invoke_agent агент"),
        (CALL, "chat gpt-x"),
        (replace(CALL, model=""), "chat"),
        (replace(CALL, name="embeddings"), "embeddings gpt-x"),
        (ToolCall(name="поиск"), "execute_tool поиск"),
    ],
)
def test_spans_are_named_after_what_they_do(operation: Operation, name: str) -> None:
    """Operation and model, agent or tool; nothing of high cardinality."""
    assert mapping.span_name(operation, ORIGIN) == name
    assert mapping.is_client(operation) == isinstance(operation, ModelCall)


def test_a_model_call_starts_with_its_request() -> None:
    """Only what was sent, in the types of the registry."""
    call = replace(CALL, request=FULL, stream=True, turn=3)
    assert mapping.start_attributes(started(call)) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "server.address": "api.openai.com",
        "server.port": 443,
        "rlm.turn": 3,
        "gen_ai.conversation.id": "c-7",
        "gen_ai.request.stream": True,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.frequency_penalty": 0.1,
        "gen_ai.request.presence_penalty": 0.2,
        "gen_ai.request.stop_sequences": ("стоп",),
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.output.type": "json",
        "openai.api.type": "chat_completions",
        "openai.request.service_tier": "default",
        "rlm.depth": 1,
        "rlm.label.team": "поиск",
        "rlm.label.feature": "chat",
    }


def test_what_was_not_sent_is_not_there() -> None:
    """No default, no `false`, no `n=1`, no tier `auto`, nothing of OpenAI for another vendor."""
    call = ModelCall(provider="groq", model="m", request=Request(choices=1, service_tier="auto", stop=()))
    origin = Origin(id="1", parent_id=None, root_id="1", run_id=None)
    assert mapping.start_attributes(started(call, origin)) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "groq",
        "gen_ai.request.model": "m",
        "rlm.depth": 0,
    }


def test_a_run_carries_no_vendor() -> None:
    """The conventions have no provider, server, stream or tier on an agent in the process."""
    run = Run(model="gpt-x", provider="openai", stream=True, request=replace(FULL, stop=None))
    names = mapping.start_attributes(started(run))
    assert names["gen_ai.request.model"] == "gpt-x"
    assert not {name for name in names if "provider" in name or "stream" in name or "tier" in name or "level" in name}


def test_values_that_no_exporter_can_carry_are_left_out() -> None:
    """A seed beyond 64 bits and half an emoji would cost the whole batch."""
    call = replace(CALL, model="м\ud83d", request=Request(seed=2**64, max_tokens=5))
    attributes = mapping.start_attributes(started(call))
    assert attributes["gen_ai.request.model"] == "м?"
    assert attributes["gen_ai.request.max_tokens"] == 5
    assert "gen_ai.request.seed" not in attributes


def test_a_model_call_ends_with_its_reply() -> None:
    """Usage, cost, first times, rate limits and retries of a stream."""
    reply = replace(
        REPLY,
        finish_reasons=("stop", "length"),
        service_tier="flex",
        system_fingerprint="fp",
        request_id="req_2",
        rate_limits=(RateLimit("request", 9, 10), RateLimit("token", 99)),
    )
    event = finished(
        replace(CALL, stream=True),
        result=reply,
        usage=Usage(input_tokens=300, output_tokens=11, cache_read_tokens=40, cache_write_tokens=0, reasoning_tokens=5),
        cost=Cost(0.25, "local"),
        attempts=3,
        first_chunk_s=0.015,
        first_token_s=1.0,
        first_visible_s=1.5,
    )
    assert mapping.end_attributes(event) == {
        "rlm.outcome": "completed",
        "gen_ai.response.model": "gpt-x-1",
        "rlm.request.id": "req_2",
        "rlm.ratelimit.request.remaining": 9,
        "rlm.ratelimit.request.limit": 10,
        "rlm.ratelimit.token.remaining": 99,
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop", "length"),
        "openai.response.service_tier": "flex",
        "openai.response.system_fingerprint": "fp",
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.output_tokens": 11,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "gen_ai.response.time_to_first_chunk": 0.015,
        "rlm.time_to_first_token": 1.0,
        "rlm.time_to_first_visible": 1.5,
        "rlm.tokens_per_second": 10.0,
        "rlm.retry.count": 2,
        "rlm.cost.amount": 0.25,
        "rlm.cost.currency": "USD",
        "rlm.cost.source": "local",
    }


def test_a_plain_call_has_no_first_times() -> None:
    """Time to the first chunk exists only for a stream; unknown usage stays absent."""
    event = finished(result=REPLY, first_chunk_s=1.0, first_token_s=1.0, cost=Unpriced("no_usage"))
    assert mapping.end_attributes(event) == {
        "rlm.outcome": "completed",
        "gen_ai.response.model": "gpt-x-1",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "rlm.unpriced": "no_usage",
    }


@pytest.mark.parametrize(
    ("outcome", "failure", "reasons"),
    [
        ("failed", FAILURE, ("stop", "error")),
        ("cancelled", FAILURE, ("stop", "error")),
        ("closed", None, ("stop",)),
        ("abandoned", None, ("stop",)),
    ],
)
def test_a_reason_that_never_came_is_an_error_only_after_a_failure(
    outcome: str, failure: Failure | None, reasons: tuple[str, ...]
) -> None:
    """Who stops early made no error."""
    event = finished(result=replace(REPLY, finish_reasons=("stop", None)), outcome=outcome, failure=failure)
    attributes = mapping.end_attributes(event)
    assert attributes["gen_ai.response.finish_reasons"] == reasons
    assert attributes.get("error.type") == (failure and failure.type)


def test_a_failure_tells_its_facts() -> None:
    """Class, status, code, request id and the wait; never its text."""
    assert mapping.end_attributes(finished(outcome="failed", failure=FAILURE)) == {
        "rlm.outcome": "failed",
        "error.type": "openai.BadRequestError",
        "rlm.http.status_code": 400,
        "rlm.error.code": "invalid_request",
        "rlm.request.id": "req_1",
        "rlm.retry_after": 2.0,
    }


def test_a_run_ends_with_sums_and_no_breakdown() -> None:
    """Totals over the tree, own calls, the last call's reasons."""
    result = RunResult(text="да", finish_reasons=("stop",), inference_calls=2, tool_calls=1, unpriced_calls=1)
    usage = Usage(input_tokens=30, output_tokens=3, cache_read_tokens=10, reasoning_tokens=1)
    assert mapping.end_attributes(finished(Run(), result=result, usage=usage, cost=Cost(1.5, "local"))) == {
        "rlm.outcome": "completed",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ("stop",),
        "rlm.run.inference_calls": 2,
        "rlm.run.tool_calls": 1,
        "rlm.run.unpriced_calls": 1,
        "rlm.cost.amount": 1.5,
        "rlm.cost.currency": "USD",
        "rlm.cost.source": "local",
    }


# Failures and content ----------------------------------------------------------------------------------------------


def test_error_text_is_content() -> None:
    """With content off: class, status, code and request id; with content on: the text, redacted."""
    assert (
        mapping.failure_text(FAILURE, Policy())
        == "openai.BadRequestError, HTTP 400, code invalid_request, request req_1"
    )
    policy = Policy("span", Redactor(lambda text: text.replace("тайна", "***")))
    assert mapping.failure_text(FAILURE, policy) == "bad prompt: ***"
    assert mapping.failure_text(FAILURE, Policy("span", Redactor(lambda text: None))) == mapping.failure_text(
        FAILURE, Policy()
    )


def test_a_code_that_quotes_the_prompt_is_not_told() -> None:
    """The vendor's code is text of the vendor."""
    failure = replace(FAILURE, code="you said: тайна", request_id="sk-0123456789")
    assert mapping.failure_text(failure, Policy()) == "openai.BadRequestError, HTTP 400"
    assert "rlm.error.code" not in mapping.end_attributes(finished(outcome="failed", failure=failure))


def test_a_failed_attempt_is_told_with_its_wait() -> None:
    """Everything that one needs to see why a call was slow."""
    event = Retrying(
        origin=ORIGIN, time_ns=0, monotonic_ns=0, operation=CALL, attempt=1, max_attempts=2, failure=FAILURE, delay_s=2
    )
    expected = {
        "rlm.http.status_code": 400,
        "rlm.error.code": "invalid_request",
        "rlm.request.id": "req_1",
        "rlm.retry_after": 2.0,
        "error.type": "openai.BadRequestError",
        "rlm.retry.attempt": 1,
        "rlm.retry.max_attempts": 2,
        "rlm.retry.delay": 2.0,
    }
    assert mapping.retry_attributes(event, Policy()) == expected
    assert mapping.retry_attributes(event, Policy("span")) == {**expected, "rlm.error.message": "bad prompt: тайна"}
    assert [(one.instrument, one.value, one.attributes) for one in mapping.retry_measurements(event, {})] == [
        (
            "rlm.client.attempts",
            1,
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-x",
                "error.type": "openai.BadRequestError",
            },
        )
    ]


CONTENT: list[tuple[Operation, Reply | RunResult | ToolResult]] = [
    (replace(CALL, messages=(Message("user", (Text("кот"),)),), tools=(ToolDefinition("f"),)), REPLY),
    (Run(messages=(Message("user", (Text("кот"),)),)), RunResult(text="да")),
    (ToolCall(name="f", arguments='{"кот": 1}'), ToolResult(text="да")),
]


@pytest.mark.parametrize(("operation", "result"), CONTENT)
def test_no_content_leaves_by_default(operation: Operation, result: Reply | RunResult | ToolResult) -> None:
    """Nothing configured, nothing said."""
    assert mapping.start_content(started(operation), Policy()) == {}
    assert mapping.end_content(finished(operation, result=result), Policy()) == {}


def test_content_is_json_when_asked_for() -> None:
    """Prompt, tools, arguments, reply and result."""
    said: Attributes = {}
    for operation, result in CONTENT:
        said |= mapping.start_content(started(operation), Policy("span"))
        said |= mapping.end_content(finished(operation, result=result), Policy("span"))
    assert said == {
        "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"кот"}]}]',
        "gen_ai.tool.definitions": '[{"type":"function","name":"f"}]',
        "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"да"}]}]',
        "gen_ai.tool.call.arguments": '{"кот":1}',
        "gen_ai.tool.call.result": '{"value":"да"}',
    }


def test_output_is_never_invented() -> None:
    """A failed call without output has none, partial output is kept."""
    assert mapping.end_content(finished(outcome="failed", failure=FAILURE), Policy("span")) == {}
    assert mapping.end_content(finished(result=Reply(), outcome="failed", failure=FAILURE), Policy("span")) == {}
    assert "gen_ai.output.messages" in mapping.end_content(finished(result=REPLY, failure=FAILURE), Policy("span"))


# Measurements ------------------------------------------------------------------------------------------------------

WHO: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-x",
    "gen_ai.response.model": "gpt-x-1",
}
SERVED: Attributes = {**WHO, "server.address": "api.openai.com", "server.port": 443}
OURS: Attributes = {**WHO, "rlm.label.team": "other", "rlm.label.feature": "chat"}


def test_a_plain_call_is_measured_once() -> None:
    """One duration, one operation, one attempt, tokens once, and no times of a stream."""
    usage = Usage(input_tokens=300, output_tokens=11, cache_read_tokens=40, reasoning_tokens=5, cache_write_tokens=0)
    reply = replace(REPLY, system_fingerprint="fp", service_tier="flex", rate_limits=(RateLimit("token", 99),))
    counted = {**SERVED, "openai.response.service_tier": "flex"}
    tokens = {**counted, "gen_ai.token.modality": "unknown"}
    event = finished(result=reply, usage=usage, cost=Cost(0.25, "provider"), first_chunk_s=1.0, first_token_s=1.0)
    assert measured(event) == {
        "gen_ai.client.inference.duration": [(2.0, counted)],
        "gen_ai.client.inference.usage.input_tokens": [(300, tokens)],
        "gen_ai.client.inference.usage.output_tokens": [(11, tokens)],
        "gen_ai.client.inference.usage.cache_read.input_tokens": [(40, tokens)],
        "gen_ai.client.inference.usage.reasoning.output_tokens": [(5, tokens)],
        "gen_ai.client.inference.operation.input_tokens": [(300, counted)],
        "gen_ai.client.inference.operation.output_tokens": [(11, counted)],
        "rlm.client.operations": [(1, {**OURS, "rlm.outcome": "completed"})],
        "rlm.client.attempts": [(1, OURS)],
        "rlm.client.cost": [(0.25, {**OURS, "rlm.cost.source": "provider"})],
        "rlm.client.ratelimit.remaining": [(99, {**OURS, "rlm.ratelimit.kind": "token"})],
    }


def test_a_stream_is_measured_with_its_times() -> None:
    """First chunk, first token, and each gap between chunks."""
    event = finished(
        replace(CALL, stream=True), result=REPLY, first_chunk_s=0.1, first_token_s=0.3, chunk_gaps_s=(0.2, 0.4)
    )
    found = measured(event)
    assert found["gen_ai.client.inference.time_to_first_chunk"] == [(0.1, SERVED)]
    assert found["gen_ai.client.inference.time_per_output_chunk"] == [(0.2, SERVED), (0.4, SERVED)]
    assert found["rlm.client.time_to_first_token"] == [(0.3, OURS)]
    assert not [name for name in found if "tokens" in name]


@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ((("text", 3), ("audio", 4)), {"text": 3, "audio": 4, "unknown": 3}),
        ((("text", 10),), {"text": 10}),
        ((("text", 8), ("image", 8)), {"unknown": 10}),
        ((("video", 4),), {"unknown": 10}),
        ((), {"unknown": 10}),
    ],
)
def test_tokens_by_modality_add_up(split: tuple[tuple[str, int], ...], counts: dict[str, int]) -> None:
    """The rest is `unknown`, and a split that does not add up is not believed."""
    points = measured(finished(usage=Usage(input_tokens=10, input_by=split)))[
        "gen_ai.client.inference.usage.input_tokens"
    ]
    assert {attributes["gen_ai.token.modality"]: value for value, attributes in points} == counts


def test_a_failed_call_is_counted_with_what_it_used() -> None:
    """Its error is on duration and attempt, partial usage is kept, a missing cost is counted with the reason."""
    event = finished(
        outcome="failed", failure=FAILURE, usage=Usage(output_tokens=3), cost=Unpriced("no_price"), attempts=3
    )
    found = measured(event, retried=2)
    who = {name: value for name, value in OURS.items() if name != "gen_ai.response.model"}
    assert found["gen_ai.client.inference.duration"][0][1]["error.type"] == "openai.BadRequestError"
    assert found["rlm.client.attempts"] == [(1, {**who, "error.type": "openai.BadRequestError"})]
    assert found["rlm.client.operations"] == [(1, {**who, "rlm.outcome": "failed"})]
    assert found["rlm.client.unpriced"] == [(1, {**who, "rlm.reason": "no_price"})]
    assert [value for value, _ in found["gen_ai.client.inference.usage.output_tokens"]] == [3]
    assert "gen_ai.client.inference.usage.input_tokens" not in found


@pytest.mark.parametrize(("attempts", "retried"), [(0, 0), (1, 1)])
def test_an_attempt_is_counted_once(attempts: int, retried: int) -> None:
    """A call that sent nothing, or was cancelled while it waited to retry, has no last attempt."""
    event = finished(outcome="cancelled", failure=FAILURE, attempts=attempts)
    assert "rlm.client.attempts" not in measured(event, retried)


def test_runs_and_tools_count_no_tokens() -> None:
    """Tokens and cost are counted at the leaf."""
    usage, cost = Usage(input_tokens=5, output_tokens=5), Cost(1.0, "local")
    result = RunResult(inference_calls=2, tool_calls=1)
    agent: Attributes = {"gen_ai.agent.name": "агент"}
    assert measured(finished(Run(model="gpt-x"), usage=usage, cost=cost, result=result)) == {
        "gen_ai.invoke_agent.duration": [(2.0, {**agent, "gen_ai.request.model": "gpt-x"})],
        "gen_ai.invoke_agent.inference_calls": [(2, agent)],
        "gen_ai.invoke_agent.tool_calls": [(1, agent)],
        "rlm.run.depth": [
            (1, {**agent, "gen_ai.request.model": "gpt-x", "rlm.label.team": "other", "rlm.label.feature": "chat"})
        ],
    }
    assert measured(finished(ToolCall(name="f"), outcome="failed", failure=FAILURE)) == {
        "gen_ai.execute_tool.duration": [
            (2.0, {"gen_ai.tool.name": "f", "gen_ai.tool.type": "function", **agent, "error.type": FAILURE.type})
        ]
    }


def test_embeddings_are_no_inference() -> None:
    """Their own duration metric, input tokens on the span, and nothing of a chat."""
    call = replace(CALL, name="embeddings", request=FULL)
    event = finished(call, result=REPLY, usage=Usage(input_tokens=4, output_tokens=0))
    assert mapping.end_attributes(event) == {
        "rlm.outcome": "completed",
        "gen_ai.response.model": "gpt-x-1",
        "gen_ai.usage.input_tokens": 4,
    }
    names = measured(event)
    assert "gen_ai.client.operation.duration" in names
    assert not [name for name in names if "inference" in name]


def test_series_in_flight_are_the_same_at_both_ends() -> None:
    """What is known only at the end is not part of them."""
    assert mapping.start_identity(started(CALL), DECLARED) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "rlm.label.team": "other",
        "rlm.label.feature": "chat",
    }


def test_an_identity_is_the_callers_own() -> None:
    """It may be changed without changing the next one."""
    mapping.identity(CALL, ORIGIN, REPLY)["x"] = 1
    assert mapping.identity(CALL, ORIGIN, REPLY) == SERVED


# The registry ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "result", "span_type"),
    [
        (Run(model="m", request=FULL), RunResult(text="да", finish_reasons=("stop",)), "gen_ai.invoke_agent.internal"),
        (replace(CALL, stream=True, request=FULL), REPLY, "gen_ai.client.inference"),
        (replace(CALL, name="embeddings", request=FULL), replace(REPLY, messages=()), "gen_ai.embeddings.client"),
        (ToolCall(name="f", arguments="{}", call_id="1"), ToolResult(text="да"), "gen_ai.execute_tool.internal"),
    ],
)
def test_spans_carry_what_the_conventions_declare(
    operation: Operation, result: Reply | RunResult | ToolResult, span_type: str
) -> None:
    """With everything there is to tell, and content on."""
    event = finished(
        operation,
        result=result,
        outcome="failed",
        failure=FAILURE,
        first_chunk_s=0.1,
        usage=Usage(input_tokens=3, output_tokens=3, cache_read_tokens=1, input_by=(("text", 3),)),
    )
    attributes = {
        **mapping.start_attributes(started(operation)),
        **mapping.end_attributes(event),
        **mapping.start_content(started(operation), Policy("span")),
        **mapping.end_content(event, Policy("span")),
    }
    assert list(attribute_violations(attributes, declared(span_type, attributes), user=False)) == []


def test_instruments_are_those_of_the_conventions() -> None:
    """Kind, unit, buckets and attributes of each `gen_ai.*` one; ours are in the table of the design."""
    for instrument in INSTRUMENTS:
        if instrument.name.startswith("rlm."):
            assert instrument.name in OWN
            continue
        known = REGISTRY["metrics"][instrument.name]
        buckets = [*known["buckets"], *LONGER.get(instrument.name, ())] if "buckets" in known else None
        assert (instrument.kind, instrument.unit) == (known["instrument"], known["unit"])
        assert instrument.integer == (known["value_type"] == "int")
        assert (list(instrument.buckets) if instrument.buckets else None) == buckets
        assert set(instrument.attributes) - {"openai.response.service_tier"} == set(known["attributes"])


def test_measurements_carry_only_what_their_instrument_lists() -> None:
    """A wrong attribute is a cardinality bug."""
    listed = {instrument.name: set(instrument.attributes) for instrument in INSTRUMENTS}
    usage = Usage(input_tokens=3, output_tokens=3, cache_read_tokens=1, cache_write_tokens=1, reasoning_tokens=1)
    reply = replace(REPLY, service_tier="flex", rate_limits=(RateLimit("request", 1, 2),))
    for operation in (replace(CALL, stream=True), Run(model="m"), ToolCall(name="f")):
        event = finished(
            operation,
            result=reply,
            usage=usage,
            failure=FAILURE,
            outcome="failed",
            first_chunk_s=1.0,
            first_token_s=1.0,
        )
        for one in mapping.measurements(event, DECLARED):
            extra = {name for name in one.attributes.keys() - listed[one.instrument] if "rlm.label." not in name}
            assert (one.instrument, extra) == (one.instrument, set())
