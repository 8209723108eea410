"""Odd prompts and parameters: the run goes its way, and telemetry loses nothing, neighbours included."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from pydantic import BaseModel

from rlm_otel import attributes
from rlm_otel.received import ReceivedSpan
from rlm_otel.testing import Answer
from tests.neighbours import SURROGATE, Make, sent
from tests.rig import Rig
from tests.ways import ANY_WAY, EITHER, PLAIN, ask

HUGE: Final = 10**400


def input_of(span: ReceivedSpan) -> Any:
    return json.loads(str(span.attributes["gen_ai.input.messages"]))


# Prompts -------------------------------------------------------------------------------------------------------------


@EITHER
@pytest.mark.parametrize("prompt", ["a\x00b", "\x1b[2J\x07\x85\u2028\ufeff", "🙂" * 14_000])
async def test_any_text_is_sent_and_shown_as_it_is(way: str, prompt: str) -> None:
    """NUL, control characters and long texts reach the server and the span unchanged."""

    async def odd(make: Make) -> None:
        async with make() as rlm:
            assert (await ask(rlm, way, prompt)).text == prompt

    wire = await sent(odd, Answer(prompt))
    assert wire.requests[1].prompt == prompt
    assert input_of(wire.odd[0])[0]["parts"][0]["content"] == prompt
    assert wire.details[1]["gen_ai.output.messages"][0]["parts"][0]["content"] == prompt  # type: ignore[index]


@EITHER
async def test_a_hundred_kilobytes_are_cut_for_telemetry_alone(way: str) -> None:
    """The server gets the whole prompt, the span the beginning of it: not more than 60 000 bytes of UTF-8."""

    async def odd(make: Make) -> None:
        async with make() as rlm:
            assert len((await ask(rlm, way, "щ" * 100_000)).text) == 100_000

    wire = await sent(odd, Answer("ы" * 100_000))
    assert wire.requests[1].prompt == "щ" * 100_000
    assert len(str(wire.odd[0].attributes["gen_ai.input.messages"]).encode()) == 59_995


@ANY_WAY
async def test_a_lone_surrogate_in_the_prompt_is_the_users_error(way: str) -> None:
    """The SDK cannot send it and says so; the call is shown as failed with a readable prompt."""

    async def odd(make: Make) -> None:
        async with make() as rlm:
            with attributes(team=SURROGATE), pytest.raises(UnicodeEncodeError):
                await ask(rlm, way, f"а{SURROGATE}б")

    wire = await sent(odd)
    (chat,) = wire.odd
    assert (chat.attributes["error.type"], chat.attributes["rlm.label.team"]) == ("UnicodeEncodeError", "?")
    assert input_of(chat) == [{"role": "user", "parts": [{"type": "text", "content": "а?б"}]}]


@PLAIN
async def test_a_name_with_a_lone_surrogate_is_readable(way: str) -> None:
    """A model's or agent's name is in span names and on metrics too."""

    async def odd(make: Make) -> None:
        async with make(f"gpt{SURROGATE}", name=f"кот{SURROGATE}") as rlm:
            with pytest.raises(UnicodeEncodeError):
                await ask(rlm, way)

    wire = await sent(odd)
    assert [span.name for span in wire.spans if "?" in span.name] == ["chat gpt?", "invoke_agent кот?"]


@EITHER
@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"role": "user", "content": "x", 1: 2, None: 3}, [{"type": "text", "content": "x"}]),
        ({"role": "user", "content": [{"type": "text", "text": "x", 1: 2}]}, [{"type": "text", "content": "x"}]),
        ({"role": "user", "content": [{"type": 5}, {5: 6}, 7, None]}, [{"type": "generic"}] * 4),
        ({"role": "user", "content": None}, []),
        ({"role": "user"}, []),
        ({"role": 5, "content": "x"}, [{"type": "text", "content": "x"}]),
        ({"role": "tool", "content": {1: 2}, "tool_call_id": 3}, [{"type": "tool_call_response", "response": ""}]),
        ({"role": "assistant", "tool_calls": [{"id": 1, "function": {"name": 2, "arguments": {3: 10**30}}}]}, None),
        ({"role": "assistant", "tool_calls": "none", "function_call": 5, "content": "x"}, None),
    ],
)
async def test_odd_messages_are_sent_as_they_are(
    rigs: Callable[..., Rig], way: str, message: Mapping[Any, Any], parts: list[object] | None
) -> None:
    """Keys that are no text, fields of another type: the server may judge them, telemetry shows what it can."""
    rig = rigs(content="both")
    server = rig.serve("ok")
    assert (await ask(rig.rlm(server=server), way, [message])).text == "ok"
    assert server.requests[0].body["messages"] == json.loads(json.dumps([message]))
    shown = json.loads(rig.span("chat gpt-4o").attributes["gen_ai.input.messages"])
    assert parts is None or [kept["parts"] for kept in shown] == [parts]


# Parameters ----------------------------------------------------------------------------------------------------------


class Weather(BaseModel):
    """An answer's form."""

    city: str


SCHEMA: Final = {"type": "json_schema", "json_schema": {"name": "weather", "schema": Weather.model_json_schema()}}


@EITHER
@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ({"seed": 10**30}, {}),
        ({"seed": -1, "max_tokens": HUGE, "temperature": HUGE, "n": 1}, {"gen_ai.request.seed": -1}),
        ({"temperature": 1, "top_p": 1}, {"gen_ai.request.temperature": 1.0, "gen_ai.request.top_p": 1.0}),
        ({"max_tokens": "many", "temperature": "hot", "seed": True}, {}),
        ({"stop": "END"}, {"gen_ai.request.stop_sequences": ("END",)}),
        ({"stop": ["а", "б"]}, {"gen_ai.request.stop_sequences": ("а", "б")}),
        ({"stop": None, "seed": None}, {}),
        ({"response_format": SCHEMA}, {"gen_ai.output.type": "json"}),
        ({"response_format": {"type": "text"}}, {"gen_ai.output.type": "text"}),
        (
            {"logprobs": True, "top_logprobs": 2, "user": "кто-то", "metadata": {"ключ": "🙂"}, "logit_bias": {"1": 2}},
            {},
        ),
        ({"parallel_tool_calls": False, "tool_choice": {"type": "none"}, "prediction": None}, {}),
    ],
)
async def test_parameters_are_sent_as_they_are(
    rigs: Callable[..., Rig], way: str, request_: dict[str, Any], shown: dict[str, object]
) -> None:
    """The server gets each one; the span has those that it can carry, in the types of the conventions."""
    rig = rigs(content="both")
    server = rig.serve("ok")
    assert (await ask(rig.rlm(server=server), way, **request_)).text == "ok"
    assert {name: server.requests[0].body[name] for name in request_} == request_
    ours = ("gen_ai.request.model", "gen_ai.request.stream")
    found = {
        name: value
        for name, value in rig.span("chat gpt-4o").attributes.items()
        if name.startswith(("gen_ai.request.", "gen_ai.output.type")) and name not in ours
    }
    assert {name: (type(value), value) for name, value in found.items()} == {
        name: (type(value), value) for name, value in shown.items()
    }


@EITHER
async def test_extras_of_the_sdk_go_through(rig: Rig, way: str) -> None:
    """`extra_body`, `extra_headers`, `extra_query` and `timeout` are the SDK's own."""
    server = rig.serve("ok")
    extras: dict[str, Any] = {
        "extra_body": {"top_k": 5},
        "extra_headers": {"X-Team": "cats"},
        "extra_query": {"v": "1"},
        "timeout": 5,
    }
    assert (await ask(rig.rlm(server=server), way, **extras)).text == "ok"
    (request,) = server.requests
    assert (request.body["top_k"], request.headers["x-team"]) == (5, "cats")
    assert request.path == "/v1/chat/completions?v=1"


@EITHER
@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"temperature": float("nan")}, ValueError),
        ({"top_p": float("inf")}, ValueError),
        ({"response_format": Weather}, TypeError),
        ({"no_such_parameter": 1}, TypeError),
        ({"metadata": {"a": object()}}, TypeError),
    ],
)
async def test_what_the_sdk_refuses_is_its_error(
    rig: Rig, way: str, request_: dict[str, Any], error: type[Exception]
) -> None:
    """It reaches the user, and the failed call is shown with nothing invented."""
    with pytest.raises(error):
        await ask(rig.rlm("never"), way, **request_)
    assert rig.outline(["gen_ai.request.temperature", "gen_ai.request.top_p"]) == (
        f"invoke_agent !{error.__name__}\n  chat gpt-4o !{error.__name__}"
    )
