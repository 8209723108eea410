"""Each surface's requests, replies and streams, as the SDK makes them and as odd servers do."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from openai._models import construct_type
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.responses import Response, ResponseStreamEvent

from rlm_otel.events import ModelCall, Request
from rlm_otel.messages import (
    Media,
    Message,
    Other,
    Part,
    Reasoning,
    ServerTool,
    Text,
    ToolDefinition,
    ToolRequest,
    ToolResponse,
)
from rlm_otel.outcome import Failure, RateLimit, Usage
from rlm_otel.reader import StreamReader, Surface, surface_of


def at(url: str, method: str = "post") -> Surface:
    surface = surface_of(url, method)
    assert surface is not None
    return surface


CHAT = at("/chat/completions")
TEXT = at("/completions")
RESPONSES = at("/responses")
EMBEDDINGS = at("/embeddings")
STORED = at("/responses/resp_1", "get")


def built(kind: Any, value: object) -> Any:
    """An object as the SDK builds it: without validation."""
    return construct_type(type_=kind, value=value)


def fed(surface: Surface, *events: object) -> tuple[StreamReader, list[str]]:
    reader = surface.chunk_reader(None)
    return reader, [reader.feed(event) for event in events]


def parts_of(reader: StreamReader) -> tuple[Part, ...]:
    return reader.result()[0].messages[0].parts


# Which one ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "method", "operation"),
    [
        ("/chat/completions", "post", "chat"),
        ("https://h/openai/deployments/d/chat/completions?api-version=1", "POST", "chat"),
        ("/completions", "post", "text_completion"),
        ("/responses", "post", "chat"),
        ("/responses/", "post", "chat"),
        ("/embeddings", "post", "embeddings"),
        ("/responses/resp_1", "get", "fetch_response"),
        ("/responses/resp_1?stream=true", "get", "fetch_response"),
        ("/responses", "get", None),
        ("/responses/", "get", None),
        ("/responses/resp_1", "delete", None),
        ("/responses/resp_1/cancel", "post", None),
        ("/responses/resp_1/input_items", "get", None),
        ("/responses/compact", "post", None),
        ("/chat/completions", "get", None),
        ("/images/generations", "post", None),
        ("", "post", None),
    ],
)
def test_a_surface_is_known_by_path_and_method(url: str, method: str, operation: str | None) -> None:
    """Those of images, audio, batches and the like are not observed."""
    surface = surface_of(url, method)
    assert (surface and surface.operation) == operation


def test_a_model_call_is_made_of_a_body() -> None:
    """Chat completions as the runner reads them."""
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Да?"}],
        "tools": [{"type": "function", "function": {"name": "add"}}],
        "temperature": 0,
        "stream": True,
    }
    assert CHAT.model_call(body, provider="openai", server_address="h", server_port=443) == ModelCall(
        provider="openai",
        model="gpt-4o",
        server_address="h",
        server_port=443,
        stream=True,
        request=Request(temperature=0),
        messages=(Message("user", (Text("Да?"),)),),
        tools=(ToolDefinition("add"),),
    )


# Responses: requests -----------------------------------------------------------------------------------------------


def test_a_responses_request_has_names_of_its_own() -> None:
    """For the same parameters, and some that only it has."""
    asked = RESPONSES.asked(
        {
            "model": "gpt-5",
            "input": "Да?",
            "instructions": "Кратко.",
            "max_output_tokens": 10,
            "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
            "temperature": 0.5,
            "service_tier": "flex",
            "conversation": {"id": "conv_1"},
            "previous_response_id": "resp_0",
            "tools": [{"type": "function", "name": "add", "description": "Adds."}, {"type": "web_search"}],
        }
    )
    assert asked.request == Request(
        temperature=0.5,
        max_tokens=10,
        output_type="json",
        reasoning_level="low",
        service_tier="flex",
        api="responses",
        conversation="conv_1",
        previous_response_id="resp_0",
    )
    assert (asked.model, asked.instructions, asked.stream) == ("gpt-5", "Кратко.", False)
    assert asked.messages == (Message("user", (Text("Да?"),)),)
    assert asked.tools == (ToolDefinition("add", description="Adds."), ToolDefinition("web_search", "web_search"))


def test_responses_input_items_are_messages() -> None:
    """What the model said in one go is one message; answers of tools are messages of their own."""
    given = [
        {"role": "developer", "content": "Кратко."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Что тут?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
                {"type": "input_image", "file_id": "file-1", "detail": "auto"},
                {"type": "input_file", "file_url": "https://h/a.pdf"},
                {"type": "input_file", "file_id": "file-2"},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "wav"}},
            ],
        },
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "думаю"}]},
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "select"},
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "строки"}]},
        {"type": "computer_call_output", "call_id": "c3", "output": {"type": "computer_screenshot", "file_id": "f"}},
        {"type": "item_reference", "id": "msg_0"},
        "ещё",
    ]
    assert RESPONSES.asked({"input": given}).messages == (
        Message("system", (Text("Кратко."),)),
        Message(
            "user",
            (
                Text("Что тут?"),
                Media("image", "data:image/png;base64,AAAA", "blob", "image/png"),
                Media("image", "file-1", "file"),
                Media("document", "https://h/a.pdf", "uri"),
                Media("document", "file-2", "file"),
                Media("audio", "BBBB", "blob", "audio/wav"),
            ),
        ),
        Message(
            "assistant",
            (Reasoning("думаю"), ToolRequest("add", '{"a": 1}', "c1"), ToolRequest("sql", "select", "c2")),
        ),
        Message("tool", (ToolResponse("2", "c1"),)),
        Message("tool", (ToolResponse("строки", "c2"),)),
        Message("tool", (ToolResponse('{"type": "computer_screenshot", "file_id": "f"}', "c3"),)),
        Message("assistant", (Other("item_reference"),)),
        Message("user", (Text("ещё"),)),
    )


def test_an_iterator_as_input_is_not_consumed() -> None:
    """Nothing that could be read once only is read here."""
    given = iter([{"role": "user", "content": "a"}])
    assert RESPONSES.asked({"input": given}).messages == ()
    assert len(list(given)) == 1


def test_a_stored_response_is_asked_for_by_its_id() -> None:
    """It has no model and no prompt."""
    asked = at("/responses/resp%2F1", "get").asked({"stream": True, "starting_after": 7})
    assert asked.request == Request(api="responses", response_id="resp/1", stream_cursor="7")
    assert (asked.model, asked.messages, asked.stream) == ("", (), True)


# Responses: replies ------------------------------------------------------------------------------------------------

FULL: dict[str, Any] = {
    "id": "resp_1",
    "model": "gpt-5-2026",
    "status": "completed",
    "service_tier": "default",
    "output": [
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "думаю"}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "mcp_call", "id": "mcp_1", "name": "find", "arguments": '{"q": "кот"}', "server_label": "s"},
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Да", "annotations": []},
                {"type": "refusal", "refusal": "нет"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"},
        {"type": "image_generation_call", "id": "ig_1", "result": "AAAA", "output_format": "png"},
        {"type": "brand_new", "id": "x"},
    ],
    "usage": {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    },
}
PARTS: tuple[Part, ...] = (
    Reasoning("думаю"),
    ServerTool("web_search", "web_search_call", "", "ws_1"),
    ServerTool("find", "mcp_call", '{"q": "кот"}', "mcp_1"),
    Text("Да"),
    Text("нет"),
    ToolRequest("add", "{}", "c1"),
    ServerTool("image_generation", "image_generation_call", "", "ig_1"),
    Media("image", "AAAA", "blob", "image/png"),
    Other("brand_new"),
)


@pytest.mark.parametrize("given", [built(Response, FULL), FULL], ids=["sdk", "dict"])
def test_a_response_is_one_message(given: object) -> None:
    """Its items are the parts, in their order; the tokens have this API's names."""
    headers = {"x-request-id": "req_1", "x-ratelimit-remaining-requests": "5"}
    reply, usage = RESPONSES.reply(given, headers)
    assert reply.messages == (Message("assistant", PARTS),)
    assert (reply.id, reply.model, reply.service_tier) == ("resp_1", "gpt-5-2026", "default")
    assert (reply.finish_reasons, reply.status, reply.request_id) == (("tool_calls",), "completed", "req_1")
    assert reply.rate_limits == (RateLimit("request", 5),)
    assert usage == Usage(
        input_tokens=10,
        output_tokens=5,
        cache_read_tokens=4,
        cache_write_tokens=2,
        reasoning_tokens=3,
        reported_total=15,
    )
    assert RESPONSES.failure(given) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_messages"}}, "max_messages"),
        ({"status": "incomplete"}, "incomplete"),
        ({"status": "cancelled"}, "error"),
        ({"status": "queued"}, None),
        ({"status": "in_progress"}, None),
        ({}, None),
    ],
)
def test_the_state_of_a_response_is_its_finish_reason(fields: dict[str, object], reason: str | None) -> None:
    """In the words of chat completions; none of these is a failure."""
    given = built(Response, {"id": "r", "output": [], **fields})
    assert RESPONSES.reply(given, None)[0].finish_reasons == (reason,)
    assert RESPONSES.failure(given) is None


def test_a_failed_response_is_a_failure_that_nobody_raised() -> None:
    """It tells the vendor's code and text; of a stored one only the finish reason does."""
    error = {"code": "server_error", "message": "сломалось"}
    given = built(Response, {"id": "r", "status": "failed", "error": error, "output": []})
    failure = RESPONSES.failure(given)
    assert failure == Failure(type="rlm_otel.errors.FailedReply", message="сломалось", code="server_error")
    assert getattr(failure.exception, "reply", None) is given
    assert STORED.failure(given) is None
    assert STORED.reply(given, None)[0].finish_reasons == ("error",)


def test_a_stored_response_has_no_tokens() -> None:
    """They were counted when it was generated."""
    reply, usage = STORED.reply(built(Response, FULL), None)
    assert (reply.messages, reply.status, usage) == ((Message("assistant", PARTS),), "completed", None)


def test_a_compacted_conversation_is_noted() -> None:
    """The vendor has shortened it on its own."""
    given = built(Response, {"id": "r", "output": [{"type": "compaction", "id": "c", "encrypted_content": "x"}]})
    assert RESPONSES.reply(given, None)[0].compacted is True
    assert RESPONSES.reply(built(Response, FULL), None)[0].compacted is False


@pytest.mark.parametrize("surface", [CHAT, TEXT, RESPONSES, EMBEDDINGS, STORED])
@pytest.mark.parametrize("given", ["<html>", None, b"", {}, [], 7, SimpleNamespace()])
def test_what_is_no_answer_is_a_failure(surface: Surface, given: object) -> None:
    """A login page, an empty body: the SDK raises nothing."""
    failure = surface.failure(given)
    assert failure is not None
    assert failure.type == "rlm_otel.errors.NoAnswer"
    reply, usage = surface.reply(given, None)
    assert (reply.messages, reply.finish_reasons, usage) == ((), (), None)


def test_an_error_in_the_body_is_told() -> None:
    """With 200, where a real server has another status."""
    given = built(Response, {"error": {"message": "сломалось", "type": "server_error", "code": None}})
    failure = RESPONSES.failure(given)
    assert failure is not None
    assert (failure.type, failure.message) == ("rlm_otel.errors.FailedReply", "сломалось")


# Responses: streams ------------------------------------------------------------------------------------------------


def event(kind: str, /, **fields: object) -> Any:
    return built(ResponseStreamEvent, {"type": kind, "sequence_number": 0, **fields})


def delta(kind: str, piece: str, index: int = 0, **place: object) -> Any:
    return event(f"response.{kind}.delta", delta=piece, output_index=index, item_id=f"i{index}", **place)


CREATED = event("response.created", response={"id": "resp_1", "model": "gpt-5", "status": "in_progress", "output": []})
COMPLETED = event("response.completed", response=FULL)
THOUGHT = delta("reasoning_summary_text", "думаю", summary_index=0)
SAID = [delta("output_text", piece, 1, content_index=0, logprobs=[]) for piece in ("Да", ", да")]


def test_a_stream_that_ends_says_what_the_response_is() -> None:
    """Text piece by piece; the last event brings usage and the whole output."""
    reader, said = fed(RESPONSES, CREATED, THOUGHT, *SAID, COMPLETED)
    reply, usage = reader.result()
    assert said == ["", "", "Да", ", да", ""]
    assert reply.messages == (Message("assistant", PARTS),)
    assert (reply.id, reply.finish_reasons, usage and usage.input_tokens) == ("resp_1", ("tool_calls",), 10)
    assert (reader.complete(), reader.failure(), reader.generated, reader.visible) == (True, None, True, True)


def test_a_stream_that_was_left_has_what_came() -> None:
    """Reasoning, text and calls in pieces; no finish reason, no usage."""
    added = {"type": "function_call", "id": "fc", "call_id": "c1", "name": "add", "arguments": ""}
    call = event("response.output_item.added", item=added, output_index=2)
    pieces = [delta("function_call_arguments", piece, 2) for piece in ('{"a"', ": 1}")]
    search = event("response.output_item.added", item={"type": "web_search_call", "id": "ws"}, output_index=3)
    reader, _ = fed(RESPONSES, CREATED, THOUGHT, *SAID, call, *pieces, search)
    assert parts_of(reader) == (
        Reasoning("думаю"),
        Text("Да, да"),
        ToolRequest("add", '{"a": 1}', "c1"),
        ServerTool("web_search", "web_search_call", "", "ws"),
    )
    reply, usage = reader.result()
    assert (reply.id, reply.model, reply.finish_reasons, usage) == ("resp_1", "gpt-5", (None,), None)
    assert not reader.complete()


def test_reasoning_and_calls_are_generated_but_not_visible() -> None:
    """The first token of an answer may be no text; the prelude is none at all."""
    reader, _ = fed(RESPONSES, CREATED)
    assert not reader.generated
    reader.feed(THOUGHT)
    assert (reader.generated, reader.visible) == (True, False)
    calling, _ = fed(RESPONSES, CREATED, event("response.output_item.added", item={"type": "function_call"}))
    assert (calling.generated, calling.visible) == (True, False)
    reader.feed(delta("refusal", "нет", content_index=0))
    assert reader.visible


def test_an_error_event_is_a_failure() -> None:
    """The SDK yields it like any other event."""
    reader, _ = fed(RESPONSES, CREATED, *SAID, event("error", code="server_error", message="сломалось", param=None))
    assert reader.failure() == Failure(type="rlm_otel.errors.FailedReply", message="сломалось", code="server_error")
    assert parts_of(reader) == (Text("Да, да"),)


@pytest.mark.parametrize(
    ("kind", "fields", "reason", "failed"),
    [
        ("failed", {"error": {"code": "server_error", "message": "a"}}, "error", True),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length", False),
    ],
)
def test_a_stream_may_end_otherwise(kind: str, fields: Mapping[str, object], reason: str, failed: bool) -> None:
    """Text and usage are kept."""
    last = {"id": "r", "status": kind, "output": [], "usage": {"input_tokens": 3, "output_tokens": 1}, **fields}
    reader, _ = fed(RESPONSES, CREATED, *SAID, event(f"response.{kind}", response=last))
    reply, usage = reader.result()
    assert (reply.text, reply.finish_reasons) == ("Да, да", (reason,))
    assert usage == Usage(input_tokens=3, output_tokens=1)
    assert (reader.complete(), reader.failure() is not None) == (True, failed)


def test_a_stored_stream_is_only_read_again() -> None:
    """No tokens; one that had failed is well fetched, an error event is a failure all the same."""
    failed = event("response.failed", response={"id": "r", "status": "failed", "output": []})
    reader, _ = fed(STORED, CREATED, *SAID, failed)
    assert (reader.failure(), reader.complete(), reader.result()[1]) == (None, True, None)
    reader, _ = fed(STORED, COMPLETED, event("error", code=None, message="a"))
    assert (reader.failure() is not None, reader.result()[1]) == (True, None)


def test_a_server_that_sends_only_whole_parts_is_read_too() -> None:
    """Its text counts once, whether a part or an item brings it."""
    done = event("response.output_text.done", text="Да", output_index=0, content_index=0, item_id="m")
    item = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Да"}]}
    whole = event("response.output_item.done", item=item, output_index=0)
    assert fed(RESPONSES, done, whole)[1] == ["Да", ""]
    reader, said = fed(RESPONSES, whole, SimpleNamespace(type="response.completed"))
    assert (said, parts_of(reader), reader.complete()) == (["Да", ""], (Text("Да"),), True)
    assert reader.result()[0].finish_reasons == ("stop",)


def test_a_server_may_leave_out_indexes_and_ids() -> None:
    """As llama.cpp's does: calls are then told apart by the vendor's id of the call."""

    def call(name: str, *pieces: str) -> list[object]:
        item = {"type": "function_call", "call_id": f"fc_{name}", "name": name, "arguments": ""}
        kind = "response.function_call_arguments.delta"
        deltas = [SimpleNamespace(type=kind, item_id=f"fc_{name}", delta=piece) for piece in pieces]
        return [SimpleNamespace(type="response.output_item.added", item=item), *deltas]

    reader, _ = fed(RESPONSES, *call("add", '{"a"', ": 1}"), *call("sub", "{}"))
    assert parts_of(reader) == (ToolRequest("add", '{"a": 1}', "fc_add"), ToolRequest("sub", "{}", "fc_sub"))


# Text completions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "messages"),
    [
        ("раз", (Message("user", (Text("раз"),)),)),
        (["раз", "два"], (Message("user", (Text("раз"),)), Message("user", (Text("два"),)))),
        ([1, 2, 3], (Message("user", (Other("tokens"),)),)),
        ([[1, 2], [3]], (Message("user", (Other("tokens"),)),) * 2),
        (None, ()),
        ([], ()),
    ],
)
def test_a_prompt_may_be_text_or_tokens(prompt: object, messages: tuple[Message, ...]) -> None:
    """One message for each; numbers are not shown."""
    asked = TEXT.asked({"model": "m", "prompt": prompt, "max_tokens": 5, "n": 2, "stop": "x", "stream": True})
    assert asked.messages == messages
    assert asked.request == Request(max_tokens=5, choices=2, stop=("x",))
    assert (asked.model, asked.stream) == ("m", True)


def test_a_text_completion_has_one_message_a_choice() -> None:
    """And the usage of chat completions."""
    choices = [{"index": n, "text": text, "finish_reason": "stop"} for n, text in enumerate(["Да", ""])]
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    body = {"id": "c", "model": "m", "system_fingerprint": "fp", "choices": choices, "usage": usage}
    reply, tokens = TEXT.reply(built(Completion, body), None)
    assert reply.messages == (Message("assistant", (Text("Да"),)), Message("assistant", ()))
    assert (reply.id, reply.finish_reasons, reply.system_fingerprint) == ("c", ("stop", "stop"), "fp")
    assert tokens == Usage(input_tokens=3, output_tokens=1, reported_total=4)


def test_a_text_stream_is_put_together() -> None:
    """By choices; only the first one's text is the answer's."""

    def chunk(*choices: tuple[int, str, str | None], **more: object) -> Any:
        told = [{"index": index, "text": text, "finish_reason": reason} for index, text, reason in choices]
        return built(Completion, {"id": "c", "model": "m", "choices": told, **more})

    counted = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cost": 0.5}
    chunks = [chunk((0, "Да", None), (1, "Нет", None)), chunk((0, "!", "stop")), chunk((1, "", "length"))]
    reader, said = fed(TEXT, *chunks[:2])
    assert (said, reader.complete(), reader.generated) == (["Да", "!"], False, True)
    for last in (chunks[2], chunk(usage=counted)):
        reader.feed(last)
    reply, usage = reader.result()
    assert [message.text for message in reply.messages] == ["Да!", "Нет"]
    assert (reply.finish_reasons, usage and usage.total_tokens, reader.reported_cost) == (("stop", "length"), 3, 0.5)
    assert (reader.complete(), reader.failure()) == (True, None)


# Embeddings --------------------------------------------------------------------------------------------------------


def test_embeddings_have_no_content() -> None:
    """Only how long the vectors are, and what went in."""
    body = {"model": "e", "input": ["тайна"], "dimensions": 256, "encoding_format": "float"}
    asked = EMBEDDINGS.asked(body)
    assert asked.request == Request(dimensions=256, encoding_formats=("float",))
    assert (asked.model, asked.messages, asked.stream) == ("e", (), False)
    given = {
        "model": "e-1",
        "data": [{"index": 1, "embedding": [0.1, 0.2, 0.3]}, {"index": 0, "embedding": [0.1]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    reply, usage = EMBEDDINGS.reply(built(CreateEmbeddingResponse, given), None)
    assert (reply.model, reply.dimensions, reply.messages, reply.finish_reasons) == ("e-1", 3, (), ())
    assert usage == Usage(input_tokens=4, output_tokens=0)


@pytest.mark.parametrize(
    ("vector", "dimensions"), [("AAAAAAAAAAA=", 2), ("AAAA", None), ([], None), (None, None), ([[0.1]], None)]
)
def test_the_length_of_a_vector_is_read_or_unknown(vector: object, dimensions: int | None) -> None:
    """From base64 of 32-bit floats as well."""
    assert EMBEDDINGS.reply({"data": [{"embedding": vector}]}, None)[0].dimensions == dimensions


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [({"total_tokens": 7}, 7), ({"prompt_tokens": 3, "total_tokens": 7, "completion_tokens": 4}, 3), ({}, None)],
)
def test_all_tokens_of_embeddings_went_in(usage: dict[str, int], tokens: int | None) -> None:
    """Some vendors give the total alone."""
    found = EMBEDDINGS.reply({"data": [], "usage": usage}, None)[1]
    assert found == (None if tokens is None else Usage(input_tokens=tokens, output_tokens=0))


def test_chat_is_read_as_ever() -> None:
    """By the functions that the runner uses."""
    body = {"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Да"}}]}
    assert CHAT.reply(built(ChatCompletion, body), None)[0].text == "Да"
    assert CHAT.failure(built(ChatCompletion, body)) is None
