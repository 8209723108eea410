"""The runner's telemetry end to end: chat, stream and tools, sync and async, against the scripted server."""

import asyncio

import pytest

from rlm_otel import TornStream
from rlm_otel.testing import Answer, Broken, Failure, Tokens, Tool
from tests.rig import Rig


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


async def multiply(a: int, b: int) -> int:
    """Multiplies two numbers."""
    await asyncio.sleep(0)
    return a * b


def test_chat(rig: Rig) -> None:
    """A plain run is a run with one chat inside, with the tokens that the server counted."""
    result = rig.rlm(Answer("Привет 🙂", usage=Tokens(input=5, output=2))).run("Как дела?")
    assert result.text == "Привет 🙂"
    assert rig.outline(["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"]) == (
        "invoke_agent gen_ai.usage.input_tokens=5 gen_ai.usage.output_tokens=2\n"
        "  chat gpt-4o gen_ai.usage.input_tokens=5 gen_ai.usage.output_tokens=2"
    )
    assert rig.value("rlm.client.operations", rlm_outcome="completed") == 1


async def test_chat_async(rig: Rig) -> None:
    """The same in an event loop."""
    result = await rig.rlm("Привет 🙂").arun("Как дела?")
    assert result.text == "Привет 🙂"
    assert rig.outline() == "invoke_agent\n  chat gpt-4o"


def test_stream(rig: Rig) -> None:
    """A stream that is read to its end is completed."""
    with rig.rlm("one two three", name="root").stream("count") as stream:
        assert list(stream) == ["one ", "two ", "three"]
    assert rig.outline(["gen_ai.request.stream"]) == "invoke_agent root\n  chat gpt-4o gen_ai.request.stream=true"


async def test_stream_async(rig: Rig) -> None:
    """The same in an event loop."""
    async with rig.rlm("one two three", name="root").astream("count") as stream:
        assert [text async for text in stream] == ["one ", "two ", "three"]
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o"


def test_stream_closed_early(rig: Rig) -> None:
    """Leaving a stream is no error: run and call are closed."""
    with rig.rlm("one two three", name="root").stream("count") as stream:
        assert next(stream) == "one "
    assert rig.outline() == "invoke_agent root (closed)\n  chat gpt-4o (closed)"


async def test_stream_closed_early_async(rig: Rig) -> None:
    """The same in an event loop."""
    async with rig.rlm("one two three", name="root").astream("count") as stream:
        assert await anext(stream) == "one "
    assert rig.outline() == "invoke_agent root (closed)\n  chat gpt-4o (closed)"


TWO_TOOLS = Answer(tool_calls=[Tool("add", {"a": 2, "b": 3}), Tool("multiply", {"a": 2, "b": 3})])
TREE = "invoke_agent root\n  chat gpt-4o\n  chat gpt-4o\n  execute_tool add\n  execute_tool multiply"


def test_tools(rig: Rig) -> None:
    """Tools are siblings of the chats; an async tool works in a sync run."""
    rlm = rig.rlm(TWO_TOOLS, "5 and 6", tools=[add, multiply], name="root")
    assert rlm.run("2+3, 2*3?").text == "5 and 6"
    assert rig.outline(by_name=True) == TREE


async def test_tools_async(rig: Rig) -> None:
    """The same in an event loop; a sync tool works there too."""
    rlm = rig.rlm(TWO_TOOLS, "5 and 6", tools=[add, multiply], name="root")
    assert (await rlm.arun("2+3, 2*3?")).text == "5 and 6"
    assert rig.outline(by_name=True) == TREE


def test_one_tool_in_order(rig: Rig) -> None:
    """One after the other, the trace is in the order in which things happened."""
    rlm = rig.rlm(Answer(tool_calls=[Tool("add", {"a": 2, "b": 3})]), "5", tools=[add], name="root")
    assert rlm.run("2+3?").text == "5"
    assert rig.outline(["rlm.turn"]) == (
        "invoke_agent root\n  chat gpt-4o rlm.turn=1\n  execute_tool add rlm.turn=1\n  chat gpt-4o rlm.turn=2"
    )


def test_retry_then_success(rig: Rig) -> None:
    """Failed attempts are events on the one span of the call."""
    rlm = rig.rlm(Failure(429, retry_after=0), Failure(500, retry_after=0), "ok", name="root")
    assert rlm.run("hi").text == "ok"
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o"
    assert [event.name for event in rig.span("chat gpt-4o").events] == ["rlm.retry", "rlm.retry"]
    assert rig.value("rlm.client.attempts") == 3


def test_torn_stream(rig: Rig) -> None:
    """A stream without a finish reason has failed, whatever arrived."""
    stream = rig.rlm(Broken("one two three", how="clean_end", after=2), name="root", max_retries=0).stream("count")
    with pytest.raises(TornStream):
        list(stream)
    assert rig.outline() == "invoke_agent root !rlm_otel.errors.TornStream\n  chat gpt-4o !rlm_otel.errors.TornStream"
