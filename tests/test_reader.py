"""The reader: SDK objects and odd answers become records of the same strings, and nothing is consumed or invented."""

import asyncio
from collections.abc import Iterator
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rlm_otel.events import Request
from rlm_otel.messages import Media, Message, Other, Reasoning, Text, ToolDefinition, ToolRequest, ToolResponse
from rlm_otel.outcome import Failure, RateLimit, Reply, Usage
from rlm_otel.reader import (
    ChunkReader,
    provider_of,
    read_cost,
    read_failure,
    read_messages,
    read_rate_limits,
    read_reply,
    read_request,
    read_tools,
    read_usage,
    retry_after,
)


def completion(**fields: object) -> ChatCompletion:
    """A reply as the SDK builds it: without validation."""
    return construct_type(type_=ChatCompletion, value=fields)  # type: ignore[return-value]


def chunk(*choices: dict[str, object], **fields: object) -> ChatCompletionChunk:
    """A chunk as the SDK builds it."""
    body = {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": list(choices), **fields}
    return construct_type(type_=ChatCompletionChunk, value=body)  # type: ignore[return-value]


def delta(index: int = 0, reason: str | None = None, **fields: object) -> dict[str, object]:
    return {"index": index, "delta": fields, "finish_reason": reason}


def fed(*chunks: object) -> ChunkReader:
    reader = ChunkReader()
    for piece in chunks:
        reader.feed(piece)
    return reader


def parts_of(reader: ChunkReader, choice: int = 0) -> tuple[object, ...]:
    return reader.result()[0].messages[choice].parts


# Requests ----------------------------------------------------------------------------------------------------------


def test_request_keeps_what_was_sent() -> None:
    """Each parameter arrives under its own name and type."""
    request = read_request(
        {
            "temperature": 1,
            "top_p": 0.5,
            "max_completion_tokens": 10,
            "max_tokens": 20,
            "frequency_penalty": 0.1,
            "presence_penalty": -0.1,
            "stop": ["a", "b"],
            "seed": -7,
            "n": 3,
            "response_format": {"type": "json_schema", "json_schema": {}},
            "reasoning_effort": "high",
            "service_tier": "flex",
            "metadata": {"unknown": "ignored"},
        }
    )
    assert request == Request(
        temperature=1.0,
        top_p=0.5,
        max_tokens=10,
        frequency_penalty=0.1,
        presence_penalty=-0.1,
        stop=("a", "b"),
        seed=-7,
        choices=3,
        output_type="json",
        reasoning_level="high",
        service_tier="flex",
    )


def test_request_without_parameters_is_empty() -> None:
    """What was not sent, the SDK's sentinels and odd types are None, never a default."""
    omitted: dict[str, object] = dict.fromkeys(
        ("temperature", "top_p", "max_tokens", "stop", "seed", "n", "response_format"), openai.omit
    )
    assert read_request({}) == Request()
    assert read_request(omitted) == Request()
    assert read_request({"timeout": openai.not_given, "temperature": "hot", "stop": [], "seed": True}) == Request()


def test_request_with_one_stop_string_is_a_tuple_of_it() -> None:
    """A single string is not a sequence of letters."""
    assert read_request({"stop": "END"}).stop == ("END",)


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "text"}}, "text"),
        ({"response_format": dict}, "json"),
        ({"modalities": ["text", "audio"]}, "speech"),
        ({"modalities": ["text"]}, None),
    ],
)
def test_output_type_follows_the_format_asked_for(kwargs: dict[str, object], expected: str | None) -> None:
    """JSON in any form, a class for `parse`, or speech."""
    assert read_request(kwargs).output_type == expected


def test_messages_of_every_role_are_read() -> None:
    """Prompt messages keep role, name, text, tool calls and tool answers."""
    messages = read_messages(
        [
            {"role": "developer", "content": "Отвечай кратко"},
            {"role": "user", "content": "Привет 👋", "name": "anna"},
            {
                "role": "assistant",
                "content": None,
                "reasoning_content": "hm",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                    {"id": "2", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "2"},
            {
                "role": "tool",
                "tool_call_id": "2",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "critic", "content": ["plain", {"type": "refusal", "refusal": "no"}]},
        ]
    )
    assert messages == (
        Message("system", (Text("Отвечай кратко"),)),
        Message("user", (Text("Привет 👋"),), "anna"),
        Message(
            "assistant", (Reasoning("hm"), ToolRequest("add", '{"a":1}', "1"), ToolRequest("sql", "SELECT 1", "2"))
        ),
        Message("tool", (ToolResponse("2", "1"),)),
        Message("tool", (ToolResponse("ab", "2"),)),
        Message("critic", (Text("plain"), Text("no"))),
    )


def test_scenario_74_parts_of_other_kinds_are_read() -> None:
    """Images, sound and files become references of the right kind, unknown parts keep only their type."""
    png = "data:image/png;base64,iVBO"
    pdf = "data:application/pdf;base64,JVBE"
    content = [
        {"type": "image_url", "image_url": {"url": "https://h/x.png"}},
        {"type": "image_url", "image_url": png},
        {"type": "video_url", "video_url": {"url": "https://h/x.mp4"}},
        {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "SUQz", "format": "mp3"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": pdf, "filename": "a.pdf"}},
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "search_result", "source": "x"},
        {"type": "image_url"},
        {"text": "no type"},
        None,
    ]
    (message,) = read_messages([{"role": "user", "content": content}])
    assert message.parts == (
        Media("image", "https://h/x.png", "uri"),
        Media("image", png, "blob", "image/png"),
        Media("video", "https://h/x.mp4", "uri"),
        Media("audio", "UklG", "blob", "audio/wav"),
        Media("audio", "SUQz", "blob", "audio/mpeg"),
        Media("document", "file-1", "file"),
        Media("document", pdf, "blob", "application/pdf"),
        Reasoning("hm"),
        Other("search_result"),
        Other("image_url"),
        Other("generic"),
        Other("generic"),
    )


def test_strings_are_kept_not_copied() -> None:
    """A prompt of many megabytes is held once: the records hold the very strings."""
    said, data, result = "x" * 100, "data:image/png;base64," + "y" * 100, "z" * 100
    messages = read_messages(
        [
            {"role": "user", "content": said},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]},
            {"role": "tool", "tool_call_id": "1", "content": result},
        ]
    )
    kept = [
        part.source if isinstance(part, Media) else getattr(part, "content", None) for m in messages for part in m.parts
    ]
    assert [kept[0] is said, kept[1] is data, kept[2] is result] == [True, True, True]


def test_scenario_62_generators_are_not_consumed() -> None:
    """A generator of messages, tools or parts is left for the API to read."""

    def once() -> Iterator[dict[str, str]]:
        yield {"role": "user", "content": "hi"}

    messages, tools, content = once(), once(), once()
    assert read_messages(messages) == ()
    assert read_tools(tools) == ()
    assert read_messages([{"role": "user", "content": content}]) == (Message("user", ()),)
    assert [len(list(left)) for left in (messages, tools, content)] == [1, 1, 1]


def test_messages_of_odd_types_do_not_raise() -> None:
    """What is no message becomes an empty one, and what is no list nothing."""
    assert read_messages("hi") == ()
    assert read_messages(None) == ()  # type: ignore[arg-type]
    assert read_messages([None, 5, {"role": 3, "content": 7, "tool_calls": "x"}]) == (
        Message("assistant", ()),
        Message("assistant", ()),
    )


def test_reply_of_the_sdk_can_be_sent_back_as_a_message() -> None:
    """An SDK message object in a prompt reads like its dict."""
    said = {
        "role": "assistant",
        "content": "ok",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    message = completion(choices=[{"message": said}]).choices[0].message
    assert read_messages([message]) == read_messages([said])
    assert read_messages([message]) == (Message("assistant", (Text("ok"), ToolRequest("f", "{}", "1"))),)


def test_tools_of_every_type_are_read() -> None:
    """Functions, custom tools and the vendor's own."""
    tools = [
        {"type": "function", "function": {"name": "add", "description": "Adds", "parameters": {}}},
        {"type": "custom", "custom": {"name": "sql"}},
        {"type": "web_search"},
        {"type": "function", "function": {}},
    ]
    assert read_tools(tools) == (
        ToolDefinition("add", "function", "Adds"),
        ToolDefinition("sql", "custom"),
        ToolDefinition("web_search", "web_search"),
    )
    assert read_tools(openai.omit) == ()


# Replies -----------------------------------------------------------------------------------------------------------


def test_reply_is_read() -> None:
    """Answer, finish reason, ids, tier and headers of a plain call."""
    response = completion(
        id="chatcmpl-1",
        model="gpt-4o-2024-08-06",
        service_tier="default",
        system_fingerprint="fp_1",
        choices=[
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": "Ага", "refusal": "нет"},
            }
        ],
        usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    )
    headers = httpx2.Headers({"X-Request-Id": "req_1", "x-ratelimit-remaining-tokens": "99"})
    reply, usage = read_reply(response, headers)
    assert reply == Reply(
        messages=(Message("assistant", (Text("Ага"), Text("нет"))),),
        finish_reasons=("tool_calls",),
        id="chatcmpl-1",
        model="gpt-4o-2024-08-06",
        service_tier="default",
        system_fingerprint="fp_1",
        request_id="req_1",
        rate_limits=(RateLimit("token", 99),),
    )
    assert reply.raw is response
    assert usage == Usage(input_tokens=1, output_tokens=2, reported_total=3)


def test_scenario_14_choices_keep_their_order_and_reasons() -> None:
    """Three choices: three messages, three reasons, one that never came is None."""
    choices = [
        {"finish_reason": reason, "message": {"content": str(i)}} for i, reason in enumerate(["stop", None, "length"])
    ]
    reply, _ = read_reply(completion(choices=choices))
    assert (reply.finish_reasons, [m.text for m in reply.messages]) == (("stop", None, "length"), ["0", "1", "2"])


@pytest.mark.parametrize(
    "response",
    [
        "<html>502</html>",
        None,
        7,
        completion(),
        completion(choices=None),
        {"choices": [None]},
        {"choices": "x", "usage": 3},
    ],
)
def test_scenario_51_reply_that_is_no_completion_is_tolerated(response: object) -> None:
    """A body without JSON is a `str`, fields are missing: an empty reply, no usage, nothing invented."""
    assert read_reply(response) == (Reply(), None)


def test_scenario_1_usage_is_read_in_full() -> None:
    """Cached, written and reasoning tokens and the split by modality; zeros of a split say nothing."""
    usage = completion(
        usage={
            "prompt_tokens": 300,
            "completion_tokens": 50,
            "total_tokens": 350,
            "prompt_tokens_details": {
                "cached_tokens": 40,
                "cache_write_tokens": 5,
                "text_tokens": 100,
                "image_tokens": 200,
                "audio_tokens": 0,
            },
            "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 7},
        }
    ).usage
    assert read_usage(usage) == Usage(
        input_tokens=300,
        output_tokens=50,
        cache_read_tokens=40,
        cache_write_tokens=5,
        reasoning_tokens=30,
        reported_total=350,
        input_by=(("text", 100), ("image", 200)),
        output_by=(("audio", 7),),
    )


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "3", "total_tokens": -1}, "x", 0]
)
def test_scenario_3_usage_that_counts_nothing_is_none(usage: object) -> None:
    """Missing usage is None, never zero tokens."""
    assert read_usage(usage) is None


def test_usage_of_other_vendors_is_read() -> None:
    """DeepSeek and Moonshot keep cached tokens elsewhere, some servers write floats."""
    assert read_usage({"prompt_tokens": 9.0, "prompt_cache_hit_tokens": 4}) == Usage(
        input_tokens=9, cache_read_tokens=4
    )
    assert read_usage(SimpleNamespace(prompt_tokens=9, cached_tokens=0)) == Usage(input_tokens=9, cache_read_tokens=0)


def test_cost_that_the_vendor_reports_is_read() -> None:
    """OpenRouter's price is found from the reply, its usage, or a dict; other replies have none."""
    response = completion(usage={"prompt_tokens": 1, "cost": 0.0125})
    assert [read_cost(response), read_cost(response.usage), read_cost({"cost": 0})] == [0.0125, 0.0125, 0.0]
    assert [read_cost(completion()), read_cost("x"), read_cost(None), read_cost({"cost": "1"})] == [None] * 4


def test_rate_limits_are_read_from_headers() -> None:
    """OpenAI's and Anthropic's header names; text that is no number is left out."""
    ours = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-limit-tokens": "many",
    }
    theirs = {"anthropic-ratelimit-tokens-remaining": "10", "anthropic-ratelimit-tokens-limit": "20"}
    assert read_rate_limits(ours) == (RateLimit("request", 59, 60),)
    assert read_rate_limits(httpx2.Headers(theirs)) == (RateLimit("token", 10, 20),)
    assert [read_rate_limits(odd) for odd in (None, "x", 5)] == [()] * 3


# Streams -----------------------------------------------------------------------------------------------------------


def test_text_of_a_stream_is_put_together() -> None:
    """Prelude, text, finish chunk and usage chunk give the reply of a plain call."""
    reader = ChunkReader({"x-request-id": "req_1"})
    chunks = [
        chunk(delta(role="assistant", content=""), service_tier="default", system_fingerprint="fp_1"),
        chunk(delta(content="При")),
        chunk(delta(content="вет")),
        chunk(delta(reason="stop")),
        chunk(usage={"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}),
    ]
    assert [reader.feed(piece) for piece in chunks] == ["", "При", "вет", "", ""]
    assert reader.complete()
    assert reader.result() == (
        Reply(
            messages=(Message("assistant", (Text("Привет"),)),),
            finish_reasons=("stop",),
            id="c1",
            model="gpt-4o-2024-08-06",
            service_tier="default",
            system_fingerprint="fp_1",
            request_id="req_1",
        ),
        Usage(input_tokens=5, output_tokens=2, reported_total=7),
    )


def test_scenario_27_stream_without_a_finish_reason_is_torn() -> None:
    """Complete only when each choice that was seen has its reason; no choice at all is torn too."""
    assert not fed().complete()
    assert not fed(chunk(usage={"prompt_tokens": 1})).complete()
    assert not fed(chunk(delta(content="a"))).complete()
    both = fed(chunk(delta(0, "stop")), chunk(delta(1, content="b")))
    assert not both.complete()
    both.feed(chunk(delta(1, "length")))
    assert both.complete()
    assert both.result()[0].finish_reasons == ("stop", "length")


def test_scenario_28_tool_calls_and_choices_in_pieces() -> None:
    """Pieces are put together by index of choice and call; a reason said twice counts once."""

    def call(index: int, call_id: str | None = None, **function: str) -> dict[str, object]:
        return {"index": index, "id": call_id, "function": function}

    reader = fed(
        chunk(delta(1, content="one")),
        chunk(delta(0, role="assistant", tool_calls=[call(0, "a", name="add", arguments="")])),
        chunk(delta(0, tool_calls=[call(1, "b", name="mul", arguments='{"y"')])),
        chunk(delta(0, tool_calls=[call(0, arguments='{"x"'), call(1, arguments=":2}")])),
        chunk(delta(0, tool_calls=[call(0, arguments=":1}")])),
        chunk(delta(0, "tool_calls"), delta(1, "stop", content=" two")),
        chunk(delta(0, "tool_calls")),
    )
    reply, _ = reader.result()
    assert reply.messages == (
        Message("assistant", (ToolRequest("add", '{"x":1}', "a"), ToolRequest("mul", '{"y":2}', "b"))),
        Message("assistant", (Text("one two"),)),
    )
    assert reply.finish_reasons == ("tool_calls", "stop")


def test_tool_calls_of_other_servers_are_kept_apart() -> None:
    """Without an index or all with index 0 (told apart by id), name repeated, arguments as an object, custom tools."""
    gemini = [{"index": 0, "id": i, "function": {"name": "f", "arguments": a}} for i, a in (("a", "{}"), ("b", "[]"))]
    repeated = [{"id": "a", "function": {"name": "f", "arguments": a}} for a in ("{", "}")]
    ollama = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"город": "Рим"}}}]
    custom = [{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]
    assert parts_of(fed(*(chunk(delta(tool_calls=[piece])) for piece in gemini))) == (
        ToolRequest("f", "{}", "a"),
        ToolRequest("f", "[]", "b"),
    )
    assert parts_of(fed(*(chunk(delta(tool_calls=[piece])) for piece in repeated))) == (ToolRequest("f", "{}", "a"),)
    assert parts_of(fed(chunk(delta(tool_calls=ollama)))) == (ToolRequest("f", '{"город": "Рим"}', "a"),)
    assert parts_of(fed(chunk(delta(tool_calls=custom)))) == (ToolRequest("sql", "SELECT 1", "a"),)


def test_scenario_28_empty_chunks_invent_nothing() -> None:
    """No choices, no delta, empty text: nothing is generated and nothing raises."""
    odd: list[Any] = [
        chunk(),
        chunk(choices=None),
        chunk({"index": 0, "delta": None}),
        chunk({"index": None, "delta": {"content": None}}),
        chunk(delta(content="", tool_calls=[])),
        chunk(delta(tool_calls=[None])),
        chunk(delta(content=5, refusal=7, tool_calls="x")),
        None,
        "text",
        {"choices": [None]},
        SimpleNamespace(),
    ]
    assert [ChunkReader().feed(piece) for piece in odd] == [""] * len(odd)
    assert parts_of(fed(chunk(delta(content="a")), *odd)) == (Text("a"),)
    reader = fed(*odd)
    assert (reader.generated, reader.visible) == (False, False)
    assert reader.result() == (
        Reply(messages=(Message("assistant", ()),), finish_reasons=(None,), id="c1", model="gpt-4o-2024-08-06"),
        None,
    )


def test_scenario_36_prelude_is_not_generated() -> None:
    """A chunk with the role only is no answer; the first text is."""
    reader = fed(chunk(delta(role="assistant", content="")))
    assert (reader.generated, reader.visible) == (False, False)
    reader.feed(chunk(delta(content="a")))
    assert (reader.generated, reader.visible) == (True, True)


def test_scenario_37_tool_call_counts_as_generated() -> None:
    """A turn that answers with a tool call has a first generated piece, and no visible one."""
    reader = fed(chunk(delta(tool_calls=[{"index": 0, "function": {"name": "f"}}])))
    assert (reader.generated, reader.visible) == (True, False)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_scenario_38_reasoning_comes_before_the_answer(name: str) -> None:
    """Reasoning is generated but not visible, and is kept apart from the answer."""

    def both(thought: str | None, answer: str | None) -> ChatCompletionChunk:
        return chunk({"index": 0, "delta": {name: thought, "content": answer}, "finish_reason": None})

    reader = fed(both("thi", None), both("nk", ""))
    assert (reader.generated, reader.visible) == (True, False)
    assert reader.feed(both(None, "42")) == "42"
    assert reader.feed(both("?", "!")) == "!"
    assert reader.visible
    assert parts_of(reader) == (Reasoning("think?"), Text("42!"))


def test_content_in_typed_parts_is_read() -> None:
    """Mistral streams lists of parts with its thinking in them."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    reader = fed(chunk(delta(content=[thinking])), chunk(delta(content=[{"type": "text", "text": "ok"}])))
    assert parts_of(reader) == (Reasoning("hm"), Text("ok"))


def test_scenario_52_refusal_is_answer_text() -> None:
    """A refusal is what the user sees, as text, and no error."""
    reader = ChunkReader()
    assert [reader.feed(chunk(delta(refusal="Не ", content=None))), reader.feed(chunk(delta(refusal="могу")))] == [
        "Не ",
        "могу",
    ]
    assert reader.visible
    assert parts_of(reader) == (Text("Не могу"),)


def test_only_the_first_choice_is_shown() -> None:
    """`feed` gives the first choice's text; others are kept for the reply."""
    reader = ChunkReader()
    shown = [
        reader.feed(chunk(delta(1, content="b"))),
        reader.feed(chunk(delta(0, content="a"), delta(1, content="c"))),
    ]
    assert shown == ["", "a"]
    assert [message.text for message in reader.result()[0].messages] == ["a", "bc"]


def test_scenario_5_cumulative_usage_is_not_added_up() -> None:
    """The last usage block counts, wherever it stands: on text chunks, or in Groq's or Moonshot's place."""
    blocks = [{"prompt_tokens": 5, "completion_tokens": n} for n in (1, 2, 3)]
    on_chunks = fed(chunk(delta(content="")), *(chunk(delta(content="a"), usage=block) for block in blocks))
    groq = fed(chunk(delta(0, "stop"), x_groq={"usage": blocks[2]}))
    moonshot = fed(chunk({**delta(0, "stop"), "usage": blocks[2]}))
    assert [r.result()[1] for r in (on_chunks, groq, moonshot)] == [Usage(input_tokens=5, output_tokens=3)] * 3


def test_cost_reported_in_a_stream_is_read() -> None:
    """OpenRouter's last chunk says what the call cost."""
    reader = fed(chunk(delta(content="a")))
    assert reader.reported_cost is None
    reader.feed(chunk(usage={"prompt_tokens": 1, "cost": 0.5}))
    assert reader.reported_cost == 0.5


def test_chunks_as_dicts_or_plain_objects_read_like_the_sdks() -> None:
    """Duck-typed: what other clients yield gives the same text."""
    body = {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    plain = SimpleNamespace(
        choices=[SimpleNamespace(index=0, delta=SimpleNamespace(content="b", reasoning="r"), finish_reason=None)]
    )
    reader = ChunkReader()
    assert [reader.feed(body), reader.feed(plain)] == ["a", "b"]
    assert parts_of(reader) == (Reasoning("r"), Text("ab"))


def test_model_is_found_after_an_empty_first_chunk() -> None:
    """Azure's first chunk has an empty model and no choices."""
    reader = fed(
        chunk(model="", id=""), chunk(delta(content="a"), model="gpt-4o"), chunk(delta(reason="stop"), model="")
    )
    assert (reader.result()[0].model, reader.result()[0].id) == ("gpt-4o", "c1")


# Failures ----------------------------------------------------------------------------------------------------------


def status_error(status: int = 429, **headers: str) -> openai.APIStatusError:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers=names, request=httpx2.Request("POST", "http://test/v1"))
    return openai.RateLimitError("Слишком часто", response=response, body={"code": "rate_limit_exceeded"})


def test_scenario_43_status_error_tells_all_it_knows() -> None:
    """Class under its public name, status, code, request id and the wait that was asked for."""
    error = status_error(x_request_id="req_1", retry_after="1.5")
    failure = read_failure(error)
    assert failure == Failure(
        type="openai.RateLimitError",
        message="Слишком часто",
        status=429,
        code="rate_limit_exceeded",
        request_id="req_1",
        retry_after_s=1.5,
    )
    assert failure.exception is error


def test_scenario_51_error_without_status_is_read() -> None:
    """An error event in a stream is an `APIError` without status and request id."""
    error = openai.APIError("cut", httpx2.Request("POST", "http://test/v1"), body={"code": 502})
    assert read_failure(error) == Failure(type="openai.APIError", message="cut", code="502")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (TimeoutError("late"), "TimeoutError", "late"),
        (KeyboardInterrupt(), "KeyboardInterrupt", ""),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError", ""),
        (httpx2.ReadTimeout("slow"), "httpx2.ReadTimeout", "slow"),
        (openai.APITimeoutError(httpx2.Request("POST", "http://test")), "openai.APITimeoutError", "Request timed out."),
        (openai._exceptions.SubjectTokenProviderError("x"), "openai.SubjectTokenProviderError", "x"),
        (Unprintable(), f"{__name__}.Unprintable", ""),
    ],
)
def test_error_type_is_the_qualified_class_name(error: BaseException, kind: str, message: str) -> None:
    """Builtins bare, others with their module, without its private parts."""
    assert read_failure(error) == Failure(type=kind, message=message)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": formatdate(1_000_030, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_wait_is_read_in_each_form(headers: dict[str, str] | None, expected: float | None) -> None:
    """Milliseconds, seconds or a date; never negative."""
    assert retry_after(headers, now=lambda: 1_000_000.0) == expected


# Vendors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("my-team.openai.azure.com", "azure.ai.openai"),
        ("api.anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws.bedrock"),
        ("API.Groq.com.", "groq"),
        ("api.mistral.ai", "mistral_ai"),
        ("api.deepseek.com", "deepseek"),
        ("api.x.ai", "x_ai"),
        ("api.perplexity.ai", "perplexity"),
        ("api.moonshot.cn", "moonshot_ai"),
        ("api.cohere.com", "cohere"),
        ("openrouter.ai", "openrouter"),
        ("127.0.0.1", None),
        ("localhost", None),
        ("api.openai.com.evil.example", None),
        ("notopenrouter.ai", None),
        ("", None),
        (None, None),
    ],
)
def test_vendor_is_known_by_its_host(host: str | None, provider: str | None) -> None:
    """Only the vendor's own hosts count; a proxy or a local server is unknown."""
    assert provider_of(host) == provider
