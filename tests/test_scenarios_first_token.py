"""When the first chunk, the first generated piece and the first text came: scenarios 36 to 40."""

from collections.abc import Callable

import pytest
from openai import APIConnectionError

from rlm_otel.testing import Answer, Broken, StepClock, Tokens, Tool
from tests.rig import Rig
from tests.stream_kinds import Open, both_kinds
from tests.tapped import Tap, tapped
from tests.ways import PLAIN, ask

TIMES = ["gen_ai.response.time_to_first_chunk", "rlm.time_to_first_token", "rlm.time_to_first_visible"]
FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk"
FIRST_TOKEN = "rlm.client.time_to_first_token"
PER_CHUNK = "gen_ai.client.inference.time_per_output_chunk"


def passing(clock: StepClock, *seconds: float) -> Tap:
    """So much time passes before the first event of a stream, the second, and so on; none before the later ones."""
    return Tap(read=lambda number: clock.advance(seconds[number - 1]) if number <= len(seconds) else None)


def times(rig: Rig) -> list[float | None]:
    """Of the one call's span: to the first chunk, the first generated piece, the first text."""
    return [rig.span("chat gpt-4o").attributes.get(name) for name in TIMES]


@both_kinds
async def test_s36_role_chunk_is_no_token(rig: Rig, open_stream: Open) -> None:
    """An empty chunk with the role is the first chunk; the first token is the first that was generated."""
    clock = StepClock(0)
    server = rig.serve(Answer("one two", usage=Tokens(input=5, output=11)))
    async with tapped(rig, server, passing(clock, 0.015, 0.285, 2.0), clock=clock) as rlm:
        assert [text async for text in open_stream(rlm, "count")] == ["one ", "two"]
    assert times(rig) == [0.015, 0.3, 0.3]
    assert (rig.value(FIRST_CHUNK), rig.value(FIRST_TOKEN)) == (0.015, 0.3)
    assert (rig.count(FIRST_CHUNK), rig.count(FIRST_TOKEN)) == (1, 1)
    # The wait for the first token is no time between tokens: ten followed it in two seconds.
    assert rig.span("chat gpt-4o").attributes["rlm.tokens_per_second"] == pytest.approx(5.0)


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@both_kinds
async def test_s37_first_token_of_a_tool_call(rig: Rig, open_stream: Open) -> None:
    """A turn that only asks for a tool has a first token, the first piece of the request, and no first text."""
    clock = StepClock(0)
    server = rig.serve(Answer(tool_calls=[Tool("add", {"a": 2, "b": 3})]), "5")
    tap = passing(clock, 0.1, 0.4)
    async with tapped(rig, server, tap, clock=clock, tools=[add], name="root") as rlm:
        assert [text async for text in open_stream(rlm, "2+3?")] == ["5"]
    asked, answered = (s.attributes for s in rig.spans if s.name == "chat gpt-4o")
    assert [asked.get(name) for name in TIMES] == [0.1, 0.5, None]
    assert [answered.get(name) for name in TIMES] == [0.1, 0.5, 0.5]
    assert (rig.count(FIRST_TOKEN), rig.value(FIRST_TOKEN)) == (2, 1.0)


@both_kinds
async def test_s38_first_reasoning_and_first_text(rig: Rig, open_stream: Open) -> None:
    """A model that reasons first: its first reasoning is the first token, the answer's first text the first visible."""
    clock = StepClock(0)
    server = rig.serve(Answer("four five", reasoning="hm well", usage=Tokens(input=3, output=5, reasoning=2)))
    async with tapped(rig, server, passing(clock, 0.1, 0.2, 0.1, 0.4, 0.5), clock=clock) as rlm:
        assert [text async for text in open_stream(rlm, "2+2?")] == ["four ", "five"]
    assert times(rig) == [0.1, 0.3, 0.8]
    assert rig.value(FIRST_TOKEN) == 0.3
    assert rig.span("chat gpt-4o").attributes["rlm.tokens_per_second"] == 4.0


@PLAIN
async def test_s39_no_first_chunk_without_a_stream(rig: Rig, way: str) -> None:
    """A call that is not streamed has none of these times, on no signal."""
    rlm = rig.rlm("five")
    assert (await ask(rlm, way, "2+3?")).text == "five"
    assert times(rig) == [None, None, None]
    assert "gen_ai.client.inference.duration" in rig.metric_names
    assert {FIRST_CHUNK, FIRST_TOKEN, PER_CHUNK} & set(rig.metric_names) == set()


@both_kinds
async def test_s40_chunk_times(rigs: Callable[..., Rig], open_stream: Open) -> None:
    """With `chunk_times=True` each chunk after the first is measured once; the first one is the same on all signals."""
    rig, clock = rigs(chunk_times=True), StepClock(0)
    # Chunks: the role, two words, the finish reason, the usage; `[DONE]` is none.
    server = rig.serve(Answer("one two"))
    async with tapped(rig, server, passing(clock, 0.5, 0.25, 1.0, 2.0, 4.0), clock=clock) as rlm:
        assert [text async for text in open_stream(rlm, "count")] == ["one ", "two"]
    assert (times(rig)[0], rig.value(FIRST_CHUNK), rig.count(FIRST_CHUNK)) == (0.5, 0.5, 1)
    assert (rig.count(PER_CHUNK), rig.value(PER_CHUNK)) == (4, 7.25)


@both_kinds
async def test_s40_no_chunk_times_unless_asked(rig: Rig, open_stream: Open) -> None:
    """By default only the first chunk is measured."""
    assert [text async for text in open_stream(rig.rlm("one two"), "count")] == ["one ", "two"]
    assert rig.count(FIRST_CHUNK) == 1
    assert rig.points(PER_CHUNK) == []


@both_kinds
async def test_s40_failed_before_any_chunk(rigs: Callable[..., Rig], open_stream: Open) -> None:
    """A stream that fails before its first chunk has none of these times."""
    rig = rigs(chunk_times=True)
    rlm = rig.rlm(Broken("one two", how="cut", after=0), name="root", max_retries=0)
    with pytest.raises(APIConnectionError):
        await anext(open_stream(rlm, "count"))
    assert rig.outline() == "invoke_agent root !openai.APIConnectionError\n  chat gpt-4o !openai.APIConnectionError"
    assert times(rig) == [None, None, None]
    assert {FIRST_CHUNK, FIRST_TOKEN, PER_CHUNK} & set(rig.metric_names) == set()
