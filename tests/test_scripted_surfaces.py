"""The scripted server's other endpoints behave like the real service, seen through the real OpenAI SDK."""

import base64
import struct
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import OpenAI

from rlm_otel.testing import Answer, Broken, Failure, Item, Raw, ScriptedServer, Tokens, Tool
from tests.surface_calls import by_async, by_sync

Call = Callable[[ScriptedServer, str, dict[str, Any]], Any]


BOTH = pytest.mark.parametrize("call", [by_sync, by_async])
RESPONSE = {"model": "m", "input": "Привет, мир 🙂"}
TEXT = {"model": "m", "prompt": "раз два"}


def served(call: Call, item: Item, method: str, **request: Any) -> Any:
    with ScriptedServer([item]) as server:
        return call(server, method, request)


# Responses ---------------------------------------------------------------------------------------------------------


@BOTH
def test_a_response_has_reasoning_text_and_tool_calls(call: Call) -> None:
    """In the order in which they are generated, with the usage in this API's words."""
    answer = Answer(
        "Да 🙂",
        reasoning="думаю",
        tool_calls=[Tool("add", {"a": 1})],
        usage=Tokens(input=10, output=5, cached=4, cache_write=2, reasoning=3),
        service_tier="default",
    )
    given = served(call, answer, "responses.create", **RESPONSE)
    assert (given.id, given.status, given.model, given.service_tier) == ("resp_1", "completed", "m", "default")
    assert [item.type for item in given.output] == ["reasoning", "message", "function_call"]
    assert given.output_text == "Да 🙂"
    assert given.output[0].summary[0].text == "думаю"
    assert (given.output[2].name, given.output[2].arguments, given.output[2].call_id) == ("add", '{"a": 1}', "call_1_0")
    assert given.usage.model_dump(exclude_none=True) == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }


@BOTH
def test_a_streamed_response_has_the_events_in_their_real_order(call: Call) -> None:
    """Numbered, and the last one holds the whole response."""
    events = served(call, Answer("Да, конечно"), "responses.create", **RESPONSE, stream=True)
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    assert events[-1].response.output_text == "Да, конечно"
    assert (events[-1].response.usage.input_tokens, events[-1].response.usage.output_tokens) == (3, 2)


def test_the_sdks_own_stream_helper_reads_the_events() -> None:
    """It puts the response together itself, and would raise on events in a wrong order."""
    answer = Answer("Да", reasoning="думаю так", refusal=None, tool_calls=[Tool("add", {"a": 1, "b": [2, 3]})])
    with ScriptedServer([answer]) as server, OpenAI(base_url=server.base_url, api_key="key") as sdk:
        with sdk.responses.stream(model="m", input="a") as stream:
            seen = [event.type for event in stream]
            final = stream.get_final_response()
    assert seen[-1] == "response.completed"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.output_text == "Да"


@BOTH
@pytest.mark.parametrize(
    ("answer", "status", "details"),
    [
        (Answer("a", finish_reason="length"), "incomplete", "max_output_tokens"),
        (Answer("a", finish_reason="content_filter"), "incomplete", "content_filter"),
        (Answer("a", status="failed"), "failed", "server_error"),
        (Answer("a", status="queued"), "queued", None),
    ],
)
def test_a_response_may_end_otherwise(call: Call, answer: Answer, status: str, details: str | None) -> None:
    """Nothing is raised: the status tells, whole and streamed."""
    whole = served(call, answer, "responses.create", **RESPONSE)
    told = whole.incomplete_details.reason if whole.incomplete_details else whole.error and whole.error.code
    assert (whole.status, told) == (status, details)
    last = served(call, answer, "responses.create", **RESPONSE, stream=True)[-1]
    assert last.type == ("response.in_progress" if status == "queued" else f"response.{status}")


@BOTH
def test_a_stored_response_is_fetched_by_its_id(call: Call) -> None:
    """Whole, as a stream, and as the rest of a stream."""
    with ScriptedServer([Answer("Да", status="in_progress"), Answer("Да"), Answer("Да")]) as server:
        asked = {"response_id": "resp_7"}
        waiting = call(server, "responses.retrieve", asked)
        assert (waiting.id, waiting.status, waiting.output) == ("resp_7", "in_progress", [])
        events = call(server, "responses.retrieve", {**asked, "stream": True})
        assert events[-1].response.output_text == "Да"
        rest = call(server, "responses.retrieve", {**asked, "stream": True, "starting_after": 6})
        assert [event.sequence_number for event in rest] == [7, 8]


@BOTH
@pytest.mark.parametrize(("how", "last"), [("clean_end", "response.output_item.done"), ("error_event", "error")])
def test_a_response_stream_breaks(call: Call, how: Any, last: str) -> None:
    """Without its last event; an error event is yielded, not raised."""
    events = served(call, Broken(Answer("a"), how=how), "responses.create", **RESPONSE, stream=True)
    assert events[-1].type == last


@BOTH
def test_a_cut_response_stream_is_a_connection_error(call: Call) -> None:
    """As for chat completions; before its version 3 the SDK let the transport's own exception out."""
    with pytest.raises(Exception) as caught:
        served(call, Broken("a b c", how="cut", after=3), "responses.create", **RESPONSE, stream=True)
    assert type(caught.value.__cause__ or caught.value).__name__ == "RemoteProtocolError"


# Text completions --------------------------------------------------------------------------------------------------


@BOTH
def test_text_completions(call: Call) -> None:
    """One choice for each prompt, tokens counted in words."""
    given = served(call, Answer("три"), "completions.create", **TEXT)
    assert (given.id, given.choices[0].text, given.choices[0].finish_reason) == ("cmpl-1", "три", "stop")
    assert (given.usage.prompt_tokens, given.usage.completion_tokens) == (2, 1)
    given = served(call, Answer("три"), "completions.create", model="m", prompt=["a", "b"])
    assert [choice.text for choice in given.choices] == ["три", "три"]


@BOTH
def test_streamed_text_completions(call: Call) -> None:
    """Pieces, a finish reason, and usage where it was asked for."""
    options = {"include_usage": True}
    chunks = served(call, Answer("три четыре"), "completions.create", **TEXT, stream=True, stream_options=options)
    assert [[choice.text for choice in chunk.choices] for chunk in chunks] == [["три "], ["четыре"], [""], []]
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices] == [None, None, "stop"]
    assert chunks[-1].usage.total_tokens == 4
    torn = served(call, Broken("три", how="clean_end"), "completions.create", **TEXT, stream=True)
    assert [chunk.choices[0].finish_reason for chunk in torn] == [None]


# Embeddings --------------------------------------------------------------------------------------------------------


@BOTH
def test_embeddings_are_vectors_that_depend_on_the_text_alone(call: Call) -> None:
    """One for each input, the same as numbers and as base64, as long as asked for."""
    request = {"model": "e", "input": ["а б", "в"], "dimensions": 4}
    numbers = served(call, Answer(), "embeddings.create", **request, encoding_format="float")
    assert [len(one.embedding) for one in numbers.data] == [4, 4]
    assert numbers.data[0].embedding != numbers.data[1].embedding
    assert numbers.usage.model_dump() == {"prompt_tokens": 3, "total_tokens": 3}
    default = served(call, Answer(), "embeddings.create", **request)  # the SDK asks for base64 and decodes it
    assert [one.embedding for one in default.data] == [one.embedding for one in numbers.data]
    held = served(call, Answer(), "embeddings.create", **request, encoding_format="base64").data[0].embedding
    assert list(struct.unpack("<4f", base64.b64decode(held))) == numbers.data[0].embedding
    tokens = served(call, Answer(), "embeddings.create", model="e", input=[1, 2, 3], encoding_format="float")
    assert (len(tokens.data), len(tokens.data[0].embedding), tokens.usage.prompt_tokens) == (1, 8, 3)


# Faults ------------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("responses.create", RESPONSE),
        ("responses.retrieve", {"response_id": "r"}),
        ("completions.create", TEXT),
        ("embeddings.create", {"model": "e", "input": "a"}),
    ],
)
def test_every_endpoint_has_the_faults_of_chat(call: Call, method: str, request_: dict[str, Any]) -> None:
    """HTTP errors with Retry-After, broken transfers, no usage, and a body that is no JSON."""
    with pytest.raises(openai.RateLimitError) as caught:
        served(call, Failure(429, retry_after=1.5), method, **request_)
    assert caught.value.response.headers["retry-after"] == "1.5"
    with pytest.raises(openai.InternalServerError):
        served(call, Failure(500), method, **request_)
    with pytest.raises(openai.APIConnectionError):
        served(call, Broken("a", how="cut"), method, **request_)
    if method != "embeddings.create":  # the SDK itself fails on text there
        assert served(call, Raw("<html>"), method, **request_) == "<html>"
    assert getattr(served(call, Answer("a", usage=None), method, **request_), "usage", None) is None
