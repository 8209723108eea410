"""What is emitted for each surface, through the real SDK; the fixture holds all of it against the conventions."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall, Origin, Request, Run, Started
from rlm_otel.mapping import start_attributes
from rlm_otel.testing import Answer, Broken, CapturedSpan, Item, Raw, Tokens, Tool
from tests.rig import Rig
from tests.surface_calls import observe

COUNTED = Tokens(input=10, output=5, cached=4, cache_write=2, reasoning=3)
OURS = ("rlm.", "server.")
TOKENS = ("gen_ai.client.inference.usage.input_tokens", "gen_ai.client.inference.operation.output_tokens")


def span_of(rig: Rig, item: Item, method: str, **request: Any) -> CapturedSpan:
    observe(Emitter([rig.callback]), item, method, **request)
    return rig.spans[-1]


def told(span: CapturedSpan) -> dict[str, object]:
    """What the conventions say of it; where it went is the same for all."""
    return {name: value for name, value in span.attributes.items() if not name.startswith(OURS)}


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_chat_is_told_as_the_runner_tells_it(rig: Rig, streamed: bool) -> None:
    """The same request and answer give the same span."""
    answer = Answer("да", usage=COUNTED, system_fingerprint="fp", service_tier="default")
    runner = rig.rlm(answer, model="gpt-4o")
    if streamed:
        list(runner.stream("Да?", temperature=0.5))
    else:
        runner.run("Да?", temperature=0.5)
    more = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    asked = {"messages": [{"role": "user", "content": "Да?"}], "temperature": 0.5}
    theirs = told(rig.span("chat gpt-4o"))
    ours = told(span_of(rig, answer, "chat.completions.create", model="gpt-4o", **asked, **more))
    theirs.pop("gen_ai.response.time_to_first_chunk", None)  # nobody looked at the clock here
    assert ours == theirs


# Responses ---------------------------------------------------------------------------------------------------------

REQUEST: dict[str, Any] = {
    "model": "gpt-5",
    "input": "Как дела?",
    "instructions": "Кратко.",
    "max_output_tokens": 100,
    "reasoning": {"effort": "low"},
    "previous_response_id": "resp_0",
    "conversation": "conv_1",
    "service_tier": "flex",
    "text": {"format": {"type": "json_object"}},
    "tools": [{"type": "function", "name": "add", "parameters": {}, "strict": False}],
}
ANSWER = Answer("Хорошо 🐱", reasoning="думаю", usage=COUNTED, service_tier="flex", model="gpt-5-2026")


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_a_response_is_a_chat_of_another_api(rig: Rig, streamed: bool) -> None:
    """The same attributes, plain and streamed."""
    span = span_of(rig, ANSWER, "responses.create", **REQUEST, **({"stream": True} if streamed else {}))
    assert (span.name, span.kind) == ("chat gpt-5", "client")
    expected: dict[str, object] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.request.previous_response.id": "resp_0",
        "gen_ai.conversation.id": "conv_1",
        "gen_ai.output.type": "json",
        "openai.api.type": "responses",
        "openai.request.service_tier": "flex",
        "openai.response.service_tier": "flex",
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.model": "gpt-5-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
    assert told(span) == (expected | {"gen_ai.request.stream": True} if streamed else expected)
    assert [rig.value(name) for name in TOKENS] == [10, 5]
    assert rig.count("gen_ai.client.inference.duration") == 1


def test_the_applications_own_conversation_beats_the_vendors() -> None:
    """It is the one that the other spans of the trace have."""
    call = ModelCall(provider="openai", model="m", request=Request(api="responses", conversation="conv_1"))
    origin = Origin(id="1", parent_id=None, root_id="1", run_id=None, conversation="мой-чат")
    started = Started(origin=origin, time_ns=0, monotonic_ns=0, operation=call)
    assert start_attributes(started)["gen_ai.conversation.id"] == "мой-чат"


@pytest.mark.parametrize(
    ("item", "streamed", "reasons", "error"),
    [
        (Answer("a", finish_reason="length"), False, ("length",), None),
        (Answer("a", finish_reason="length"), True, ("length",), None),
        (Answer("", tool_calls=[Tool("add", {"a": 1})]), False, ("tool_calls",), None),
        (Answer("", tool_calls=[Tool("add", {"a": 1})]), True, ("tool_calls",), None),
        (Answer("a", status="failed"), False, ("error",), "server_error"),
        (Answer("a", status="failed"), True, ("error",), "server_error"),
        (Broken("a b c", how="error_event"), True, ("error",), "server_error"),
    ],
)
def test_only_what_failed_is_an_error(
    rig: Rig, item: Item, streamed: bool, reasons: tuple[str, ...], error: str | None
) -> None:
    """Nothing was raised in any of these."""
    span = span_of(rig, item, "responses.create", model="m", input="a", **({"stream": True} if streamed else {}))
    assert span.attributes["gen_ai.response.finish_reasons"] == reasons
    assert (span.status, span.attributes["rlm.outcome"]) == (
        ("unset", "completed") if error is None else ("error", "failed")
    )
    assert span.attributes.get("error.type") == (None if error is None else "rlm_otel.errors.FailedReply")
    assert span.attributes.get("rlm.error.code") == error


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("chat.completions.create", {"messages": []}),
        ("responses.create", {"input": "a"}),
        ("completions.create", {"prompt": "a"}),
    ],
)
def test_a_body_that_is_no_json_is_no_answer(rig: Rig, method: str, request_: dict[str, Any]) -> None:
    """As the runner says it."""
    span = span_of(rig, Raw("<html>Вход</html>"), method, model="m", **request_)
    assert (span.status, span.attributes["error.type"]) == ("error", "rlm_otel.errors.NoAnswer")


def test_a_response_that_is_queued_has_no_finish_reason(rig: Rig) -> None:
    """It was accepted, and that is all that is known; nobody can price it."""
    span = span_of(rig, Answer("a", status="queued"), "responses.create", model="m", input="a", background=True)
    assert (span.status, "gen_ai.response.finish_reasons" in span.attributes) == ("unset", False)
    assert span.attributes["rlm.unpriced"] == "no_usage"


# Stored responses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [{}, {"stream": True, "starting_after": 0}], ids=["plain", "streamed"])
def test_fetching_a_response_is_no_inference(rig: Rig, streamed: dict[str, Any]) -> None:
    """No model in its name, no tokens, no cost, a duration of its own; one that had failed is well fetched."""
    answer = Answer("a", status="failed", usage=COUNTED, model="gpt-5-2026", service_tier="flex")
    span = span_of(rig, answer, "responses.retrieve", response_id="resp_7", **streamed)
    assert (span.name, span.kind, span.status) == ("fetch_response", "client", "unset")
    expected: dict[str, object] = {
        "gen_ai.operation.name": "fetch_response",
        "gen_ai.provider.name": "openai",
        "openai.api.type": "responses",
        "gen_ai.response.id": "resp_7",
        "gen_ai.response.model": "gpt-5-2026",
        "gen_ai.response.status": "failed",
        "gen_ai.response.finish_reasons": ("error",),
        "openai.response.service_tier": "flex",
    }
    assert told(span) == (expected | {"gen_ai.request.stream_cursor": "0"} if streamed else expected)
    assert not {"rlm.unpriced", "rlm.cost.amount"} & span.attributes.keys()
    assert rig.count("gen_ai.client.operation.duration", gen_ai_operation_name="fetch_response") == 1
    assert [name for name in rig.metric_names if "token" in name or "inference" in name or "unpriced" in name] == []


def test_a_fetch_that_finds_nothing_still_names_the_response(rig: Rig) -> None:
    """Its id is known from the request."""
    span = span_of(rig, Raw("<html>"), "responses.retrieve", response_id="resp_7")
    assert (span.attributes["gen_ai.response.id"], span.status) == ("resp_7", "error")


# Text completions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [{}, {"stream": True}], ids=["plain", "streamed"])
def test_text_completions(rig: Rig, streamed: dict[str, Any]) -> None:
    """Inference like chat; `openai.api.type` has no word for it."""
    answer = Answer("да", usage=COUNTED, system_fingerprint="fp", model="m-1")
    more = {**streamed, "stream_options": {"include_usage": True}} if streamed else {}
    span = span_of(rig, answer, "completions.create", model="m", prompt="Да?", max_tokens=5, echo=False, **more)
    assert span.name == "text_completion m"
    expected: dict[str, object] = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.max_tokens": 5,
        "gen_ai.response.id": "cmpl-1",
        "gen_ai.response.model": "m-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "openai.response.system_fingerprint": "fp",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_write.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
    assert told(span) == (expected | {"gen_ai.request.stream": True} if streamed else expected)
    assert [rig.value(name) for name in TOKENS] == [10, 5]


# Embeddings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "encoding", "dimensions"),
    [({}, "base64", 8), ({"encoding_format": "float", "dimensions": 4}, "float", 4)],
)
def test_embeddings(rig: Rig, asked: dict[str, Any], encoding: str, dimensions: int) -> None:
    """Tokens in, none out; the vectors' length is that of what came."""
    span = span_of(rig, Answer(usage=COUNTED), "embeddings.create", model="e", input=["тайна", "b"], **asked)
    assert span.name == "embeddings e"
    assert told(span) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "e",
        "gen_ai.request.encoding_formats": (encoding,),
        "gen_ai.embeddings.dimension.count": dimensions,
        "gen_ai.response.model": "e",
        "gen_ai.usage.input_tokens": 10,
    }
    assert rig.count("gen_ai.client.operation.duration", gen_ai_operation_name="embeddings") == 1
    assert [name for name in rig.metric_names if "token" in name or "inference" in name] == []


# Content and sums --------------------------------------------------------------------------------------------------


def test_content_of_a_response(rigs: Callable[..., Rig]) -> None:
    """The system prompt has an attribute of its own; calls that the vendor makes itself have a part of their own."""
    rig = rigs(content="both")
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Хорошо 🐱"}]}
    body = {"id": "r", "object": "response", "status": "completed", "model": "m", "output": [search, said]}
    span = span_of(rig, Raw(body), "responses.create", **REQUEST)
    read = {name: json.loads(str(value)) for name, value in span.attributes.items() if "messages" in name}
    assert json.loads(str(span.attributes["gen_ai.system_instructions"])) == [{"type": "text", "content": "Кратко."}]
    assert read["gen_ai.input.messages"] == [{"role": "user", "parts": [{"type": "text", "content": "Как дела?"}]}]
    assert read["gen_ai.output.messages"][0]["parts"] == [
        {
            "type": "server_tool_call",
            "id": "ws_1",
            "name": "web_search",
            "server_tool_call": {"type": "web_search_call"},
        },
        {"type": "text", "content": "Хорошо 🐱"},
    ]
    assert json.loads(str(span.attributes["gen_ai.tool.definitions"])) == [{"type": "function", "name": "add"}]
    assert [log.name for log in rig.logs] == ["gen_ai.client.inference.operation.details"]


def test_content_of_what_is_no_inference(rigs: Callable[..., Rig]) -> None:
    """Embeddings have none; a stored response has what was said, and an event of ours: theirs is for inference."""
    rig = rigs(content="both")
    span_of(rig, Answer(), "embeddings.create", model="e", input="тайна")
    span_of(rig, Answer("Да"), "responses.retrieve", response_id="r")
    embedded, fetched = rig.spans
    assert "тайна" not in str(embedded.attributes)
    assert json.loads(str(fetched.attributes["gen_ai.output.messages"]))[0]["parts"][0]["content"] == "Да"
    assert [(log.name, log.span_id) for log in rig.logs] == [("rlm.operation.details", fetched.span_id)]
    assert rig.logs[0].attributes["gen_ai.output.messages"][0]["parts"][0]["content"] == "Да"


def test_without_content_nothing_of_a_response_leaves(rig: Rig) -> None:
    """Neither the system prompt nor anything else."""
    span = span_of(rig, ANSWER, "responses.create", **REQUEST)
    assert not [word for word in ("Кратко", "дела", "Хорошо", "думаю", "function") if word in str(span.attributes)]


def test_a_run_counts_only_inference_as_such(rig: Rig) -> None:
    """Embeddings and fetched responses are calls under it; tokens and costs add up all the same."""
    with Bracket(Emitter([rig.callback]), Run(), agent="агент") as run:
        asked = {"model": "gpt-4o", "input": "a"}
        run.result = observe(run.emitter, Answer("a", usage=COUNTED), "responses.create", parent=run, **asked).result
        observe(run.emitter, Answer(usage=COUNTED), "embeddings.create", parent=run, model="e", input="a")
        observe(run.emitter, Answer("a", usage=COUNTED), "responses.retrieve", parent=run, response_id="r")
    root = next(span for span in rig.spans if span.name == "invoke_agent агент")
    assert root.attributes["rlm.run.inference_calls"] == 1
    assert (root.attributes["gen_ai.usage.input_tokens"], root.attributes["gen_ai.usage.output_tokens"]) == (20, 5)
    assert root.attributes["rlm.run.unpriced_calls"] == 1
