"""What is current while a stream is read or left, and what hangs under what: scenarios 26, 32, 33, 77, 78 and 82."""

import asyncio
import contextvars
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

from rlm_otel import RLM
from rlm_otel.ambient import current_bracket
from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall
from rlm_otel.testing import Answer, Broken, Tokens
from tests.rig import Rig
from tests.stream_kinds import AnyStream, Open, both_kinds
from tests.tapped import Tap, tapped

Rigs = Callable[..., Rig]
ONE_TWO = Answer("one two", prelude=False, usage=None)
"""Four events: two words, the finish reason, `[DONE]`."""


def tracer(rig: Rig) -> trace.Tracer:
    """The application's own, on the same provider."""
    return rig.tracer_provider.get_tracer("app")


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What anybody warned of: OpenTelemetry logs an error where a context is detached elsewhere."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@both_kinds
async def test_s26_two_streams_alternately(rigs: Rigs, open_stream: Open) -> None:
    """Two streams that are read in turns keep their parents, texts and tokens apart."""
    rig = rigs(content="span")
    first = rig.rlm(Answer("a1 a2 a3", usage=Tokens(input=1, output=3)), name="A")
    second = rig.rlm(Answer("b1 b2 b3", usage=Tokens(input=10, output=30)), name="B")
    with tracer(rig).start_as_current_span("for A"):
        a = open_stream(first, "count")
        got = [await anext(a)]
    with tracer(rig).start_as_current_span("for B"):
        b = open_stream(second, "count")
        got += [await anext(b)]
    for _ in range(2):
        got += [await anext(a), await anext(b)]
    assert [text async for text in b] + [text async for text in a] == []
    assert got == ["a1 ", "b1 ", "a2 ", "b2 ", "a3", "b3"]
    assert rig.outline(["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"]) == (
        "for A\n"
        "  invoke_agent A gen_ai.usage.input_tokens=1 gen_ai.usage.output_tokens=3\n"
        "    chat gpt-4o gen_ai.usage.input_tokens=1 gen_ai.usage.output_tokens=3\n"
        "for B\n"
        "  invoke_agent B gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=30\n"
        "    chat gpt-4o gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=30"
    )
    replies = [s.attributes["gen_ai.output.messages"] for s in rig.spans if s.name == "chat gpt-4o"]
    assert [json.loads(text)[0]["parts"][0]["content"] for text in replies] == ["a1 a2 a3", "b1 b2 b3"]


@both_kinds
async def test_s32_users_spans_in_the_loop(rig: Rig, open_stream: Open) -> None:
    """A span that the user opens inside the loop stands beside the run, under the caller's span."""
    with tracer(rig).start_as_current_span("request"):
        async with open_stream(rig.rlm(ONE_TWO, name="root"), "count") as stream:
            async for text in stream:
                with tracer(rig).start_as_current_span(f"use {text.strip()}"):
                    pass
    assert rig.outline() == "request\n  invoke_agent root\n    chat gpt-4o\n  use one\n  use two"


@both_kinds
async def test_s32_users_spans_without_a_caller(rig: Rig, open_stream: Open) -> None:
    """Without a span of the caller's it is a root of its own."""
    async for text in open_stream(rig.rlm(ONE_TWO, name="root"), "count"):
        with tracer(rig).start_as_current_span(f"use {text.strip()}"):
            pass
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o\nuse one\nuse two"


def http_spans(rig: Rig, *, fail_at: int | None = None) -> Tap:
    """An instrumented HTTP client: a span for the request and for each read; read `fail_at` fails."""

    def span(name: str) -> None:
        with tracer(rig).start_as_current_span(name):
            pass

    def read(number: int) -> None:
        span(f"read {number}")
        if number == fail_at:
            raise OSError("lost")

    return Tap(send=partial(span, "send"), read=read)


async def drain(stream: AnyStream, current: Callable[[], object]) -> None:
    async for _ in stream:
        current()


async def leave(stream: AnyStream, current: Callable[[], object]) -> None:
    async with stream:
        async for _ in stream:
            current()
            break
    current()


async def lose(stream: AnyStream, current: Callable[[], object]) -> None:
    with pytest.raises(OSError, match="lost"):
        await drain(stream, current)


@both_kinds
@pytest.mark.parametrize(
    ("use", "fail_at", "ending", "reads"),
    [(drain, None, "", 4), (leave, None, " (closed)", 1), (lose, 2, " !OSError", 2)],
    ids=["drained", "left", "lost"],
)
async def test_s33_http_spans_are_children_of_the_call(
    rig: Rig,
    open_stream: Open,
    use: Callable[[AnyStream, Callable[[], object]], Awaitable[None]],
    fail_at: int | None,
    ending: str,
    reads: int,
) -> None:
    """Spans made while a chunk is read are children of the model call, which is current only then, however it ends."""
    seen: list[object] = []
    async with tapped(rig, rig.serve(ONE_TWO), http_spans(rig, fail_at=fail_at), name="root") as rlm:
        with tracer(rig).start_as_current_span("request") as request:
            await use(open_stream(rlm, "count"), lambda: seen.append(trace.get_current_span()))
            assert trace.get_current_span() is request
    assert seen
    assert all(span is request for span in seen)
    below = "".join(f"\n      read {number}" for number in range(1, reads + 1))
    assert rig.outline() == (f"request\n  invoke_agent root{ending}\n    chat gpt-4o{ending}\n      send{below}")


def test_s77_closed_in_another_thread(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that one thread read and another one closes ends as closed, and nobody complains about contexts."""
    stream = rig.rlm("one two", name="root").stream("count")
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as closer:
        assert reader.submit(next, stream).result() == "one "
        closer.submit(stream.close).result()
    assert rig.outline() == "invoke_agent root (closed)\n  chat gpt-4o (closed)"
    assert complaints(caplog) == []


async def test_s77_closed_in_another_task(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that one task read and another one closes ends as closed, and nobody complains about contexts."""
    stream = rig.rlm("one two", name="root").astream("count")

    async def first() -> str:
        return await anext(stream)

    assert await asyncio.create_task(first()) == "one "
    await asyncio.create_task(stream.aclose())
    assert rig.outline() == "invoke_agent root (closed)\n  chat gpt-4o (closed)"
    assert complaints(caplog) == []


def test_s77_current_operation_left_elsewhere(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A read that was suspended in one context may be closed in another one, as the garbage collector does it."""
    with Bracket(Emitter([rig.callback]), ModelCall(provider="openai", model="gpt-4o")) as call:
        suspended = call.current()
        contextvars.copy_context().run(suspended.__enter__)
        suspended.__exit__(None, None, None)
        assert (current_bracket.get(), trace.get_current_span()) == (None, trace.INVALID_SPAN)
    assert complaints(caplog) == []


async def answers(rlm: RLM) -> AsyncIterator[str]:
    """The user's own async generator around a stream, as web frameworks want it."""
    async with rlm.astream("count") as stream:
        async for text in stream:
            yield text


async def test_s77_users_generator_closed_in_another_task(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """So it is for a stream inside the user's async generator that another task closes."""
    generator = answers(rig.rlm("one two", name="root"))

    async def first() -> str:
        with tracer(rig).start_as_current_span("request"):
            return await anext(generator)

    assert await asyncio.create_task(first()) == "one "
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]  # it is a generator
    assert rig.outline() == "request\n  invoke_agent root (closed)\n    chat gpt-4o (closed)"
    assert complaints(caplog) == []


async def test_s77_users_generator_dropped(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """So it is for one that was left by a `break`: the event loop closes it, in a task of its own."""
    async for text in answers(rig.rlm("one two", name="root")):
        assert text == "one "
        break
    async with asyncio.timeout(5):
        while rig.open_spans:
            await asyncio.sleep(0)
    assert rig.outline() == "invoke_agent root (closed)\n  chat gpt-4o (closed)"
    assert complaints(caplog) == []


@both_kinds
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "dropped"])
async def test_s78_nothing_is_left_current(rig: Rig, open_stream: Open, kept: bool) -> None:
    """After a `break` nothing is attached: later spans and runs are roots, whether the stream is kept or dropped."""
    stream = open_stream(rig.rlm("one two", name="root"), "count")
    async for _ in stream:
        break
    held = [stream] if kept else []
    del stream
    assert otel_context.get_current() == {}
    with tracer(rig).start_as_current_span("later"):
        pass
    await rig.rlm("five", name="next").arun("2+3?")
    for open_one in held:
        await open_one.aclose()
    ending = "closed" if kept else "abandoned"
    assert rig.outline() == (
        f"invoke_agent root ({ending})\n  chat gpt-4o ({ending})\nlater\ninvoke_agent next\n  chat gpt-4o"
    )


@both_kinds
@pytest.mark.parametrize("ending", ["completed", "closed", "abandoned"])
async def test_s82_event_of_a_stream_carries_its_span(rigs: Rigs, open_stream: Open, ending: str) -> None:
    """The event with the details of a streamed call has its trace and span id, in whatever thread it is emitted."""
    rig = rigs(content="event")
    stream = open_stream(rig.rlm(ONE_TWO, name="root"), "count")
    async for _ in stream:
        if ending != "completed":
            break
    if ending == "closed":
        await stream.aclose()
    del stream
    chat = rig.span("chat gpt-4o")
    assert chat.attributes["rlm.outcome"] == ending
    assert [(log.name, log.trace_id, log.span_id) for log in rig.logs] == [
        ("gen_ai.client.inference.operation.details", chat.trace_id, chat.span_id),
        ("rlm.operation.details", chat.trace_id, chat.parent_id),
    ]


@both_kinds
async def test_s82_exception_of_a_stream_carries_its_span(rigs: Rigs, open_stream: Open) -> None:
    """So does the log record of its exception, where the environment wants exceptions as logs."""
    rig = rigs(environ={"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs"})
    stream = open_stream(rig.rlm(Broken("one two", how="no_finish"), name="root"), "count")
    with pytest.raises(Exception, match="without a finish reason"):
        await drain(stream, lambda: None)
    chat = rig.span("chat gpt-4o")
    assert [(log.name, log.trace_id, log.span_id) for log in rig.logs] == [
        ("gen_ai.client.operation.exception", chat.trace_id, chat.span_id)
    ]
