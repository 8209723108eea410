"""Tokens, first tokens, errors and cancellation of observed clients: scenarios 1 to 15 and 36 to 52."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from rlm_otel import instrument_openai
from rlm_otel.adapters.openai.streams import Tap
from rlm_otel.adapters.openai.usage import Asking, hint
from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall
from rlm_otel.reader import error_type
from rlm_otel.reader.surfaces import surface_of
from rlm_otel.testing import Answer, Broken, Failure, Hang, Item, Raw, StepClock, Tokens, Tool, rate_limits
from tests.attached import (
    ANY_WAY,
    BROKE_OFF,
    FOUR,
    HI,
    PLAIN,
    STREAMED,
    TWO_STREAMS,
    Told,
    ask,
    begin,
    close,
    facts,
    is_stream,
    make,
    observed,
    opened,
)
from tests.rig import Rig

FULL = Answer("one two", usage=Tokens(input=300, output=40, cached=40, reasoning=12, cost=0.25))
USAGE = {"stream_options": {"include_usage": True}}
NAMES = ("input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")


def tokens(rig: Rig) -> list[object]:
    attributes = rig.span("chat gpt-4o").attributes
    return [attributes.get(f"gen_ai.usage.{name}") for name in NAMES]


# Tokens --------------------------------------------------------------------------------------------------------------


@ANY_WAY
async def test_s1_usage_of_a_clients_call(rig: Rig, way: str) -> None:
    """Input, output, cached and reasoning tokens, the vendor's own price: on span and metrics (5, 6, 10, 12)."""
    async with observed(rig, rig.serve(FULL), way) as client:
        await ask(client, way, **(USAGE if is_stream(way) else {}))
    assert tokens(rig) == [300, 40, 40, 12]
    assert rig.value("gen_ai.client.inference.usage.input_tokens") == 300
    assert rig.value("rlm.client.cost", rlm_cost_source="provider") == 0.25


@PLAIN
async def test_s3_usage_that_is_missing_stays_absent(rig: Rig, way: str) -> None:
    """No usage in the reply: no tokens on the span, none in the metrics; the call counts as unpriced."""
    async with observed(rig, rig.serve(Answer("Hi", usage=None)), way) as client:
        await ask(client, way)
    assert tokens(rig) == [None, None, None, None]
    assert "gen_ai.client.inference.usage.input_tokens" not in rig.metric_names
    assert rig.value("rlm.client.unpriced", rlm_reason="no_usage") == 1


@STREAMED
async def test_s4_a_stream_that_does_not_ask_has_no_tokens(
    rig: Rig, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is not changed to get them; a hint says once in the process how to."""
    hint.cache_clear()
    server = rig.serve(FULL, FULL)
    async with observed(rig, server, way) as client:
        await ask(client, way)
        await ask(client, way)
    assert ["stream_options" in request.body for request in server.requests] == [False, False]
    assert "gen_ai.client.inference.usage.input_tokens" not in rig.metric_names
    assert [record.getMessage().partition(":")[0] for record in caplog.records if record.name == "rlm_otel"] == [
        "a stream ended without usage, so its tokens and cost are unknown"
    ]


@STREAMED
async def test_s5_the_usage_chunk_reaches_who_asked_for_it(rig: Rig, way: str) -> None:
    """A caller who asks for usage gets its chunk, also where we were told to ask."""
    async with observed(rig, rig.serve(FULL), way, include_usage=True) as client:
        chunks = await ask(client, way, **USAGE)
    assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], 300)
    assert tokens(rig) == [300, 40, 40, 12]


@pytest.mark.parametrize("way", ["stream", "raw_stream", "helper", "astream", "araw_stream", "ahelper"])
async def test_s5_usage_that_we_ask_for_is_kept_from_the_caller(rig: Rig, way: str) -> None:
    """`include_usage=True`: tokens are known, and the caller sees the chunks that it would have seen without us."""
    server = rig.serve(FULL)
    arguments = {"messages": list(HI), "user": "я"}
    async with observed(rig, server, way, include_usage=True) as client:
        chunks = await ask(client, way, **arguments)
    assert server.requests[0].body["stream_options"] == {"include_usage": True}
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one ", "two", None]
    assert tokens(rig) == [300, 40, 40, 12]
    assert arguments == {"messages": HI, "user": "я"}


@pytest.mark.parametrize("way", ["sr_stream", "asr_stream"])
async def test_s5_nothing_is_asked_where_the_caller_may_read_the_lines(rig: Rig, way: str) -> None:
    """`with_streaming_response` hands out bytes: an extra chunk could not be hidden, so none is asked for."""
    server = rig.serve(FULL)
    async with observed(rig, server, way, include_usage=True) as client:
        await ask(client, way)
    assert "stream_options" not in server.requests[0].body


@TWO_STREAMS
async def test_s5_other_stream_options_are_kept(rig: Rig, way: str) -> None:
    """Asking for usage leaves what the caller says otherwise about its stream, also in `extra_body`."""
    server = rig.serve(FULL, FULL)
    async with observed(rig, server, way, include_usage=True) as client:
        await ask(client, way, stream_options={"include_obfuscation": False})
        await ask(client, way, extra_body={"stream_options": {"chunk_size": 3}, "top_k": 1})
    assert [request.body["stream_options"] for request in server.requests] == [
        {"include_obfuscation": False, "include_usage": True},
        {"chunk_size": 3, "include_usage": True},
    ]
    assert server.requests[1].body["top_k"] == 1


@TWO_STREAMS
async def test_s8_usage_that_came_before_the_end_is_kept(rig: Rig, way: str) -> None:
    """A stream that is left after usage arrived has it on span and counters."""
    answer = Answer("one two three", usage=Tokens(input=5, output=3), running_usage=True)
    async with observed(rig, rig.serve(answer), way) as client:
        async with opened(client, way, **USAGE) as stream:
            for _ in range(3):
                await anext(stream)
    assert facts(rig)[2] == {"closed": 1}
    assert rig.value("gen_ai.client.inference.usage.input_tokens") == 5


@FOUR
async def test_s14_several_choices_are_one_call(rig: Rig, way: str) -> None:
    """Usage once, three finish reasons in order."""
    answer = Answer(
        ("a", "b", "c"), finish_reason=("stop", "length", "content_filter"), usage=Tokens(input=1, output=3)
    )
    async with observed(rig, rig.serve(answer), way) as client:
        await ask(client, way, n=3, **(USAGE if is_stream(way) else {}))
    assert facts(rig) == ("unset", ("stop", "length", "content_filter"), {"completed": 1})
    assert rig.value("gen_ai.client.inference.usage.output_tokens") == 3


@PLAIN
async def test_s43_rate_limits_are_read_from_the_headers(rig: Rig, way: str) -> None:
    """Headroom and request id, which only the HTTP response has, are there for plain calls too."""
    answer = Answer("Hi", headers=rate_limits(remaining_requests=7, limit_requests=10))
    async with observed(rig, rig.serve(answer), way) as client:
        await ask(client, way)
    assert rig.value("rlm.client.ratelimit.remaining") == 7
    assert rig.span("chat gpt-4o").attributes["rlm.request.id"] == "req_1"


# Time to the first token ---------------------------------------------------------------------------------------------


class Chunk:
    """A chunk as the SDK has it, with a delta of these fields."""

    def __init__(self, **delta: object) -> None:
        self.choices = [{"index": 0, "delta": delta, "finish_reason": None}]


@pytest.mark.parametrize(
    ("second", "times"),
    [
        (Chunk(content="Hi"), (1.0, 3.0, 3.0)),
        (Chunk(tool_calls=[{"index": 0, "function": {"name": "f"}}]), (1.0, 3.0, None)),
        (Chunk(reasoning_content="Hm"), (1.0, 3.0, None)),
    ],
    ids=["text", "tool call", "reasoning"],
)
def test_s36_the_prelude_of_a_clients_stream_is_no_token(
    second: Chunk, times: tuple[float | None, float | None, float | None]
) -> None:
    """First chunk, first generated piece (a tool call, 37, or reasoning, 38, is one) and first text are told apart."""
    clock = StepClock(0)
    surface = surface_of("/chat/completions")
    assert surface is not None
    with Bracket(Emitter([], clock=clock), ModelCall(provider="openai", model="m")) as bracket:
        tap = Tap(bracket, surface.chunk_reader(None), Asking(None))  # type: ignore[arg-type]  # nothing is sent
        clock.advance(1)
        tap.took(Chunk(role="assistant", content=""))
        clock.advance(2)
        tap.took(second)
    assert (bracket.first_chunk_s, bracket.first_token_s, bracket.first_visible_s) == times


@PLAIN
async def test_s39_a_plain_call_has_no_first_chunk(rig: Rig, way: str) -> None:
    """Neither attribute nor metric."""
    async with observed(rig, rig.serve("Hi"), way) as client:
        await ask(client, way)
    assert [name for name in rig.metric_names if "first" in name] == []


@STREAMED
async def test_s40_first_chunk_once_and_every_gap(rigs: Callable[..., Rig], way: str) -> None:
    """Time to the first chunk once, the same on span and metric; with `chunk_times` each later chunk has its time."""
    rig = rigs(chunk_times=True)
    async with observed(rig, rig.serve(Answer("one two three")), way) as client:
        await ask(client, way)
    name = "gen_ai.client.inference.time_to_first_chunk"
    assert rig.value(name) == rig.span("chat gpt-4o").attributes["gen_ai.response.time_to_first_chunk"]
    assert rig.count("gen_ai.client.inference.time_per_output_chunk") == 4


# Errors --------------------------------------------------------------------------------------------------------------


@STREAMED
@pytest.mark.parametrize("how", ["cut", "reset"])
async def test_s41_a_connection_that_breaks_in_a_clients_stream(rigs: Callable[..., Rig], way: str, how: Any) -> None:
    """The SDK's exception reaches the consumer; text and usage so far stay on the span."""
    rig, told = rigs(content="span"), Told()
    answer = Answer("one two three", usage=Tokens(input=5, output=3), running_usage=True)
    async with observed(rig, rig.serve(Broken(answer, how=how, after=3)), way, callbacks=[told]) as client:
        with pytest.raises(BROKE_OFF) as caught:
            await ask(client, way, **USAGE)
    assert told.errors == [caught.value]
    chat = rig.span("chat gpt-4o")
    assert (chat.attributes["error.type"], facts(rig)[2]) == (error_type(caught.value), {"failed": 1})
    assert '"content":"one two "' in str(chat.attributes["gen_ai.output.messages"])
    assert chat.attributes["gen_ai.usage.input_tokens"] == 5
    assert not hasattr(caught.value, "__notes__")


@ANY_WAY
@pytest.mark.parametrize(
    ("status", "kind"), [(401, "AuthenticationError"), (404, "NotFoundError"), (400, "BadRequestError")]
)
async def test_s42_the_sdks_error_object_goes_on(rig: Rig, way: str, status: int, kind: str) -> None:
    """The user gets the very exception of the SDK, with nothing added; the span has its class and status."""
    told = Told()
    async with observed(rig, rig.serve(Failure(status)), way, callbacks=[told]) as client:
        with pytest.raises(getattr(openai, kind)) as caught:
            await ask(client, way)
    assert told.errors == [caught.value]
    assert not hasattr(caught.value, "__notes__")
    chat = rig.span("chat gpt-4o")
    assert (chat.status, chat.attributes["error.type"]) == ("error", f"openai.{kind}")
    assert chat.attributes["rlm.http.status_code"] == status
    assert [event.name for event in chat.events] == ["exception"]


@pytest.mark.parametrize("way", ["astream", "araw_stream"])
async def test_s44_a_cancelled_task(rig: Rig, way: str) -> None:
    """Cancelled while a chunk is awaited: cancelled, and the cancellation goes on."""
    server = rig.serve(Answer("one two", gate=threading.Event(), gate_after=2))
    async with observed(rig, server, way) as client:
        stream = await begin(client, way)
        await anext(stream)
        await anext(stream)
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert facts(rig)[2] == {"cancelled": 1}
    assert rig.span("chat gpt-4o").attributes["error.type"] == "asyncio.exceptions.CancelledError"


@pytest.mark.parametrize("way", ["stream", "raw_stream"])
async def test_s46_ctrl_c_while_a_chunk_is_read(rig: Rig, way: str) -> None:
    """It goes on, and the call is cancelled."""

    def interrupted() -> Iterator[object]:
        raise KeyboardInterrupt
        yield  # type: ignore[unreachable]  # it makes this a generator

    async with observed(rig, rig.serve(Answer("one")), way) as client:
        stream = await begin(client, way)
        stream.stream._iterator._inner = interrupted()
        with pytest.raises(KeyboardInterrupt):
            await anext(stream)
        await stream.close()
    assert facts(rig)[2] == {"cancelled": 1}


@pytest.mark.parametrize("way", ["acreate", "araw", "astream"])
async def test_s45_wait_for_cancels_a_clients_call(rig: Rig, way: str) -> None:
    """A timeout around a call is one cancelled span."""
    server = rig.serve(Hang())
    async with observed(rig, server, way) as client:
        task = asyncio.ensure_future(ask(client, way))
        await asyncio.to_thread(server.wait_for_requests, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0)
    assert rig.outline(["rlm.outcome"]).startswith("chat gpt-4o rlm.outcome=cancelled")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_s46_what_is_no_exception_ends_the_span_too(rig: Rig, kind: type[BaseException]) -> None:
    """Ctrl-C and the like in the middle of a request go on, and the span has ended."""

    def interrupt(request: object) -> None:
        raise kind

    server = rig.serve()
    client = make(server, "create", http_client=openai.DefaultHttpxClient(event_hooks={"request": [interrupt]}))
    instrument_openai(client, callbacks=[rig.callback])
    with pytest.raises(kind):
        client.chat.completions.create(model="gpt-4o", messages=HI)
    client.close()
    assert facts(rig)[2] == {"closed" if kind is GeneratorExit else "cancelled": 1}


@FOUR
async def test_s47_success_has_no_status(rig: Rig, way: str) -> None:
    """Unset, never OK."""
    async with observed(rig, rig.serve("Hi"), way) as client:
        await ask(client, way)
    assert rig.span("chat gpt-4o").status == "unset"


@pytest.mark.parametrize("way", ["create", "acreate", "raw", "araw", "sr", "asr"])
async def test_s51_a_body_that_is_no_json(rig: Rig, way: str) -> None:
    """A login page with status 200: the caller gets the text that the SDK gives, the call has failed."""
    told = Told()
    async with observed(rig, rig.serve(Raw("<html>"), Raw("<html>")), way, callbacks=[told]) as client:
        assert await ask(client, way) == "<html>"
    assert rig.span("chat gpt-4o").attributes["error.type"] == "rlm_otel.errors.NoAnswer"
    assert told.hooks == ["on_llm_start", "on_error"]


@STREAMED
async def test_s51_an_error_event_in_a_clients_stream(rig: Rig, way: str) -> None:
    """The SDK's plain `APIError`, without a status, is raised and recorded."""
    async with observed(rig, rig.serve(Broken("one two", how="error_event", after=2)), way) as client:
        with pytest.raises(openai.APIError):
            await ask(client, way)
    assert rig.span("chat gpt-4o").attributes["error.type"] == "openai.APIError"


@FOUR
@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Answer(refusal="No."), "stop"),
        (Answer("cut", finish_reason="length"), "length"),
        (Answer("", finish_reason="content_filter"), "content_filter"),
        (Answer(tool_calls=[Tool("add", {})]), "tool_calls"),
    ],
    ids=["refusal", "length", "filter", "tools"],
)
async def test_s52_an_answer_that_is_cut_or_refused_is_no_error(rig: Rig, way: str, item: Item, reason: str) -> None:
    """It has its finish reason."""
    async with observed(rig, rig.serve(item), way) as client:
        await ask(client, way)
    assert facts(rig) == ("unset", (reason,), {"completed": 1})


@pytest.mark.parametrize("way", ["create", "acreate"])
async def test_s52_an_answer_that_the_sdk_cannot_parse_keeps_its_usage(rig: Rig, way: str) -> None:
    """`parse()` raises for an answer that was cut: what it cost is known all the same."""
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    answer = Answer('{"na', finish_reason="length", usage=Tokens(input=7, output=2))
    async with observed(rig, rig.serve(answer), way) as client:
        with pytest.raises(openai.LengthFinishReasonError):
            await ask(client, way.replace("create", "parse"), response_format=City)
    chat = rig.span("chat gpt-4o")
    assert (chat.attributes["error.type"], chat.attributes["gen_ai.usage.input_tokens"]) == (
        "openai.LengthFinishReasonError",
        7,
    )


@PLAIN
async def test_s42_a_server_that_is_not_there(rig: Rig, way: str) -> None:
    """A connection that is refused: the SDK's error, one failed call."""
    server = rig.serve()
    server.close()
    async with observed(rig, server, way, max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError):
            await ask(client, way)
    assert facts(rig)[2] == {"failed": 1}
    await close(client)
