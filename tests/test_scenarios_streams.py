"""How a stream ends, whatever its consumer does: scenarios 16 to 23, 25 and 35."""

import asyncio
import gc
import threading

import pytest

from rlm_otel.testing import Answer, Repeat, StepClock, Tokens
from tests.rig import Rig
from tests.stream_kinds import AnyStream, Open, both_kinds
from tests.tapped import Tap, tapped

COUNT = Answer("one two three", usage=Tokens(input=5, output=3))
CLOSED = "invoke_agent root (closed)\n  chat gpt-4o (closed)"
ABANDONED = "invoke_agent root (abandoned)\n  chat gpt-4o (abandoned)"


class Told:
    """A callback that notes which end hooks it was called with."""

    def __init__(self) -> None:
        self.hooks: list[str] = []

    def on_llm_end(self) -> None:
        self.hooks.append("on_llm_end")

    def on_run_end(self) -> None:
        self.hooks.append("on_run_end")

    def on_error(self, error: BaseException) -> None:
        self.hooks.append(f"on_error {error!r}")


def call_facts(rig: Rig) -> tuple[object, ...]:
    """Of the one call: its span's status and finish reasons, and by outcome how often it is in the metrics."""
    chat = rig.span("chat gpt-4o")
    outcomes = {point.attributes["rlm.outcome"]: point.value for point in rig.points("rlm.client.operations")}
    return chat.status, chat.attributes.get("gen_ai.response.finish_reasons"), outcomes


@both_kinds
async def test_s16_drained_stream_is_completed(rig: Rig, open_stream: Open) -> None:
    """A stream that is read to its end is one completed call over the whole time, and no success status is set."""
    clock, told = StepClock(0), Told()
    stream = open_stream(rig.rlm(COUNT, name="root", clock=clock, callbacks=[rig.callback, told]), "count")
    async for _ in stream:
        clock.advance(1.5)
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o"
    assert call_facts(rig) == ("unset", ("stop",), {"completed": 1})
    assert rig.span("chat gpt-4o").duration_s == 4.5
    assert (rig.count("gen_ai.client.inference.duration"), rig.value("gen_ai.client.inference.duration")) == (1, 4.5)
    assert told.hooks == ["on_llm_end", "on_run_end"]


@both_kinds
async def test_s17_break_inside_with_is_closed(rig: Rig, open_stream: Open) -> None:
    """Leaving the `with` early ends the span at the exit as closed; nothing about it is an error."""
    told = Told()
    async with open_stream(rig.rlm(COUNT, name="root", callbacks=[rig.callback, told]), "count") as stream:
        async for _ in stream:
            break
        assert rig.open_spans == ["invoke_agent root", "chat gpt-4o"]
    assert rig.open_spans == []
    assert rig.outline() == CLOSED
    assert call_facts(rig) == ("unset", None, {"closed": 1})
    assert told.hooks == ["on_llm_end", "on_run_end"]
    assert stream.result is not None
    assert (stream.result.outcome, stream.result.text) == ("closed", "one ")


@both_kinds
@pytest.mark.parametrize("in_cycle", [False, True], ids=["by refcount", "in a cycle"])
async def test_s18_dropped_stream_is_abandoned(rig: Rig, open_stream: Open, in_cycle: bool) -> None:
    """A stream that is dropped after a `break` without `with` ends as abandoned when it is collected; no error."""
    told = Told()
    stream = open_stream(rig.rlm(COUNT, name="root", callbacks=[rig.callback, told]), "count")
    async for _ in stream:
        break
    if in_cycle:
        knot: list[object] = [stream]
        knot.append(knot)
        del knot
    assert rig.open_spans == ["invoke_agent root", "chat gpt-4o"]
    del stream
    if in_cycle:
        gc.collect()
    assert rig.outline() == ABANDONED
    assert call_facts(rig) == ("unset", None, {"abandoned": 1})
    assert told.hooks == ["on_llm_end", "on_run_end"]


@pytest.mark.parametrize("read", [0, 1])
def test_s18_dropped_after_its_event_loop(rig: Rig, read: int) -> None:
    """An async stream whose event loop is over before it is dropped is abandoned as well."""
    rlm = rig.rlm(COUNT, name="root")
    kept: list[AnyStream] = []

    async def main() -> None:
        kept.append(await rlm.astream("count").__aenter__())
        for _ in range(read):
            await anext(kept[0])
        await rlm.aclose()

    asyncio.run(main())
    kept.clear()
    assert rig.open_spans == []
    assert rig.outline() == ABANDONED
    assert call_facts(rig) == ("unset", None, {"abandoned": 1})


@both_kinds
async def test_s19_close_ends_at_once(rig: Rig, open_stream: Open) -> None:
    """`close()` ends the span at that moment as closed and hangs up; a second one does nothing."""
    server = rig.serve(Repeat(COUNT))
    stream = open_stream(rig.rlm(server=server, name="root"), "count")
    assert await anext(stream) == "one "
    await stream.aclose()
    assert rig.open_spans == []
    await stream.aclose()
    assert [text async for text in stream] == []
    assert rig.outline() == CLOSED
    assert call_facts(rig) == ("unset", None, {"closed": 1})
    assert len(server.requests) == 1


@both_kinds
async def test_s19_close_hangs_up(rig: Rig, open_stream: Open) -> None:
    """The server sees at once that nobody listens any more."""
    server = rig.serve(Answer("one two three", gate=threading.Event(), gate_after=2))
    stream = open_stream(rig.rlm(server=server), "count")
    assert await anext(stream) == "one "
    await stream.aclose()
    assert server.requests[0].disconnected.wait(5)


@both_kinds
@pytest.mark.parametrize("how", ["dropped", "closed"])
async def test_s20_unused_stream_makes_no_request(rig: Rig, open_stream: Open, how: str) -> None:
    """A stream that nobody entered or read asks for nothing and records nothing."""
    server = rig.serve(Repeat(COUNT))
    stream = open_stream(rig.rlm(server=server), "count")
    if how == "closed":
        await stream.aclose()
    del stream
    assert (server.requests, rig.spans, rig.metric_names) == ([], [], [])


@both_kinds
async def test_s20_entered_and_left_is_closed(rig: Rig, open_stream: Open) -> None:
    """Entering starts the run; left without reading, it is closed, once."""
    async with open_stream(rig.rlm(COUNT, name="root"), "count"):
        pass
    assert rig.outline() == CLOSED
    assert call_facts(rig) == ("unset", None, {"closed": 1})


@both_kinds
async def test_s20_started_and_dropped_is_abandoned(rig: Rig, open_stream: Open) -> None:
    """A stream that was entered, never read and never left is abandoned when it is collected, once."""
    stream = await open_stream(rig.rlm(COUNT, name="root"), "count").__aenter__()
    del stream
    assert rig.outline() == ABANDONED
    assert call_facts(rig) == ("unset", None, {"abandoned": 1})


async def use(stream: AnyStream, *, read: int = 1, error: Exception | None = None) -> None:
    """Enters, reads so many pieces, and leaves, by an exception if one is given."""
    async with stream:
        for _ in range(read):
            await anext(stream)
        if error is not None:
            raise error


@both_kinds
async def test_s21_users_exception_is_the_failure(rig: Rig, open_stream: Open) -> None:
    """What the user's code raises inside the `with` comes out as it is, and is what the span failed with."""
    told, mine = Told(), LookupError("mine")
    rlm = rig.rlm(COUNT, name="root", callbacks=[rig.callback, told])
    with pytest.raises(LookupError) as caught:
        await use(open_stream(rlm, "count"), error=mine)
    assert caught.value is mine
    assert (mine.__cause__, mine.__context__) == (None, None)
    assert rig.outline() == "invoke_agent root !LookupError\n  chat gpt-4o !LookupError"
    assert call_facts(rig) == ("error", ("error",), {"failed": 1})
    assert told.hooks == ["on_error LookupError('mine')", "on_run_end"]


@both_kinds
async def test_s22_users_exception_in_a_bare_loop(rig: Rig, open_stream: Open) -> None:
    """Without a `with` the user's exception cannot be seen: it comes out as it is, the stream is abandoned."""
    mine = LookupError("mine")

    async def consume() -> None:
        async for _ in open_stream(rig.rlm(COUNT, name="root"), "count"):
            raise mine

    with pytest.raises(LookupError) as caught:
        await consume()
    assert caught.value is mine
    assert rig.outline() == ABANDONED
    assert call_facts(rig) == ("unset", None, {"abandoned": 1})


def _no_close() -> None:
    raise OSError("no close")


@both_kinds
async def test_s23_users_exception_wins_over_close(rig: Rig, open_stream: Open) -> None:
    """Where the user's code raised and then closing failed too, the user's exception is raised and recorded."""
    mine = LookupError("mine")
    async with tapped(rig, rig.serve(COUNT), Tap(close=_no_close), name="root") as rlm:
        with pytest.raises(LookupError) as caught:
            await use(open_stream(rlm, "count"), error=mine)
    assert caught.value is mine
    assert rig.outline() == "invoke_agent root !LookupError\n  chat gpt-4o !LookupError"


@both_kinds
@pytest.mark.parametrize("read", [0, 1])
async def test_s23_failing_close_is_the_failure(rig: Rig, open_stream: Open, read: int) -> None:
    """Where only closing failed, its error is raised and recorded, and the request is not made again."""
    server = rig.serve(Repeat(COUNT))
    async with tapped(rig, server, Tap(close=_no_close), name="root") as rlm:
        with pytest.raises(OSError, match="no close"):
            await use(open_stream(rlm, "count"), read=read)
    assert rig.outline() == "invoke_agent root !OSError\n  chat gpt-4o !OSError"
    assert call_facts(rig)[2] == {"failed": 1}
    assert len(server.requests) == 1


@both_kinds
async def test_s25_drained_closed_and_collected_is_recorded_once(rig: Rig, open_stream: Open) -> None:
    """Read to its end, closed, left and collected: still one span, one duration, the tokens once."""
    async with open_stream(rig.rlm(COUNT, name="root"), "count") as stream:
        assert [text async for text in stream] == ["one ", "two ", "three"]
        await stream.aclose()
    await stream.aclose()
    del stream
    gc.collect()
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o"
    assert call_facts(rig) == ("unset", ("stop",), {"completed": 1})
    assert rig.count("gen_ai.client.inference.duration") == 1
    assert rig.value("gen_ai.client.inference.usage.input_tokens") == 5
    assert rig.value("gen_ai.client.inference.usage.output_tokens") == 3


@both_kinds
async def test_s35_table_of_open_runs_returns_to_empty(rig: Rig, open_stream: Open) -> None:
    """After many abandoned streams nothing is kept of them."""
    rlm = rig.rlm(Repeat(Answer("one two", prelude=False)), name="root")
    for _ in range(150):
        await anext(open_stream(rlm, "count"))
    rig.flush()
    recorder = rig.callback._recorder
    assert recorder is not None
    assert len(recorder.operations) == 0
    assert rig.value("rlm.client.operations", rlm_outcome="abandoned") == 150
    assert rig.value("rlm.client.active") == 0
