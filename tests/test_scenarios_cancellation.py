"""Scenarios of calls that are cut short from this side, by number: every span ends, the exception goes on."""

import asyncio
import threading
from collections.abc import Callable, Coroutine

import pytest

from rlm_otel import RLM
from rlm_otel.testing import Answer, Failure, Hang, Tokens, Tool
from tests.rig import Rig
from tests.tapped import Tap, tapped
from tests.ways import ANY_WAY, STREAMED, ask

CANCELLED = "asyncio.exceptions.CancelledError"
BOTH_CANCELLED = f"invoke_agent error.type={CANCELLED} (cancelled)\n  chat gpt-4o error.type={CANCELLED} (cancelled)"
OUTSIDE = [KeyboardInterrupt("Ctrl-C"), SystemExit(3), GeneratorExit("gone")]
TWO_WORDS = '[{"role":"assistant","parts":[{"type":"text","content":"one two "}]}]'


def raises(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


# The task is cancelled -----------------------------------------------------------------------------------------------


async def in_with(rlm: RLM, two_read: asyncio.Event) -> None:
    async with rlm.astream("Hi") as stream:
        await in_loop(stream, two_read)


async def bare(rlm: RLM, two_read: asyncio.Event) -> None:
    await in_loop(rlm.astream("Hi"), two_read)


async def in_loop(stream: object, two_read: asyncio.Event) -> None:
    count = 0
    async for _ in stream:  # type: ignore[attr-defined]  # a RunStream
        count += 1
        if count == 2:
            two_read.set()


@pytest.mark.parametrize("consume", [in_with, bare])
async def test_s44_a_cancelled_stream_is_cancelled(
    rigs: Callable[..., Rig], consume: Callable[[RLM, asyncio.Event], Coroutine[None, None, None]]
) -> None:
    """`task.cancel()` while a stream is read: ERROR with its class, the text so far, and the task is cancelled."""
    rig = rigs(content="span")
    never, two_read = threading.Event(), asyncio.Event()
    rlm = rig.rlm(Answer("one two three", gate=never, gate_after=3))
    task = asyncio.create_task(consume(rlm, two_read))
    await two_read.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert rig.outline(["error.type"]) == BOTH_CANCELLED
    chat = rig.span("chat gpt-4o")
    assert (chat.status, chat.attributes["gen_ai.output.messages"]) == ("error", TWO_WORDS)
    assert rig.value("rlm.client.operations", rlm_outcome="cancelled") == 1
    assert rig.value("gen_ai.client.inference.duration", error_type=CANCELLED) > 0


async def test_s45_a_timeout_around_a_run_is_one_cancelled_span(rig: Rig) -> None:
    """`asyncio.wait_for` around a plain call: one span, cancelled, and the caller sees the timeout."""
    server = rig.serve(Hang())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rig.rlm(server=server).arun("Hi"), 0.1)
    assert rig.outline(["error.type"]) == BOTH_CANCELLED
    assert [span.status for span in rig.spans] == ["error", "error"]
    assert await asyncio.to_thread(server.requests[0].disconnected.wait, 5)


async def test_s45_a_timeout_while_a_retry_waits(rig: Rig) -> None:
    """A call that is given up between two attempts had one attempt, and that is what is counted."""

    class TimeIsUp:
        async def on_retry(self) -> None:
            limit.reschedule(asyncio.get_running_loop().time())

    rlm = rig.rlm(Failure(429, retry_after=60), callbacks=[rig.callback, TimeIsUp()])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:
            await rlm.arun("Hi")
    assert rig.outline(["error.type"]) == BOTH_CANCELLED
    assert [event.name for event in rig.span("chat gpt-4o").events] == ["rlm.retry", "exception"]
    assert [(point.value, point.attributes["error.type"]) for point in rig.points("rlm.client.attempts")] == [
        (1, "openai.RateLimitError")
    ]


# What is no Exception ------------------------------------------------------------------------------------------------


def ended(error: BaseException) -> str:
    return "(closed)" if isinstance(error, GeneratorExit) else f"error.type={type(error).__name__} (cancelled)"


@ANY_WAY
@pytest.mark.parametrize("error", OUTSIDE, ids=repr)
async def test_s46_raised_while_a_request_is_sent(rig: Rig, way: str, error: BaseException) -> None:
    """Ctrl-C, exit and `GeneratorExit` out of the transport: nothing is repeated, all ends, the same object goes on."""
    server = rig.serve("never")
    async with tapped(rig, server, Tap(send=raises(error))) as rlm:
        with pytest.raises(type(error)) as caught:
            await ask(rlm, way)
    assert caught.value is error
    assert rig.outline(["error.type"]) == f"invoke_agent {ended(error)}\n  chat gpt-4o {ended(error)}"
    assert server.requests == []


@STREAMED
@pytest.mark.parametrize("error", OUTSIDE, ids=repr)
async def test_s46_raised_while_a_chunk_is_read(rig: Rig, way: str, error: BaseException) -> None:
    """The same in the middle of a stream: what had come is kept."""
    answer = Answer("one two three", usage=Tokens(input=9, output=6), running_usage=True)
    tap = Tap(read=lambda number: raises(error)() if number == 4 else None)
    async with tapped(rig, rig.serve(answer), tap) as rlm:
        with pytest.raises(type(error)) as caught:
            await ask(rlm, way)
    assert caught.value is error
    tokens = "gen_ai.usage.output_tokens"
    assert rig.outline([tokens, "error.type"]) == (
        f"invoke_agent {tokens}=4 {ended(error)}\n  chat gpt-4o {tokens}=4 {ended(error)}"
    )


def tools_raising(error: BaseException) -> list[Callable[..., object]]:
    def alone() -> None:
        """Raises."""
        raise error

    def beside() -> str:
        """Returns."""
        return "fine"

    return [alone, beside]


@pytest.mark.parametrize("calls", [["alone"], ["alone", "beside"]], ids=len)
@pytest.mark.parametrize("error", OUTSIDE, ids=repr)
def test_s46_raised_by_a_tool(rig: Rig, calls: list[str], error: BaseException) -> None:
    """A tool that is interrupted, in the calling thread or in a pool: the model is told nothing, the run is over."""
    server = rig.serve(Answer(tool_calls=[Tool(name, {}) for name in calls]), "never")
    with pytest.raises(type(error)) as caught:
        rig.rlm(server=server, tools=tools_raising(error)).run("Hi")
    assert caught.value is error
    assert f"\n  execute_tool alone {ended(error)}" in rig.outline(["error.type"])
    assert rig.outline(["error.type"]).startswith(f"invoke_agent {ended(error)}\n  chat gpt-4o\n")
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", OUTSIDE, ids=repr)
def test_s46_raised_by_a_tool_in_an_event_loop(rig: Rig, error: BaseException) -> None:
    """Python lets Ctrl-C and exit out of the event loop at once: the spans end nevertheless."""
    rlm = rig.rlm(Answer(tool_calls=[Tool("alone", {}), Tool("beside", {})]), "never", tools=tools_raising(error))

    async def main() -> None:
        try:
            await rlm.arun("Hi")
        finally:
            await rlm.aclose()

    with pytest.raises(type(error)) as caught:
        asyncio.run(main())
    assert caught.value is error
    assert f"\n  execute_tool alone {ended(error)}" in rig.outline(["error.type"])
    assert rig.outline().startswith("invoke_agent (c")
