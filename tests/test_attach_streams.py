"""How a stream of an observed client ends, whatever its consumer does: scenarios 16 to 35."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from rlm_otel import fence, instrument_openai, timing
from rlm_otel.adapters.openai import streams
from rlm_otel.testing import Answer, Broken, Raw, Repeat, ScriptedServer, Tokens, Tool
from tests.attached import (
    BROKE_OFF,
    HI,
    HTTP,
    STREAMED,
    TWO_STREAMS,
    Told,
    ask,
    begin,
    close,
    facts,
    is_async,
    make,
    observed,
    opened,
)
from tests.rig import Rig

OK = Repeat(Answer("one two three"))
COUNT = Answer("one two three", usage=Tokens(input=5, output=3))
BARE_STREAMS = pytest.mark.parametrize("way", ["stream", "astream", "raw_stream", "araw_stream"])


async def collected() -> None:
    """What was dropped is collected; an event loop closes async generators in tasks of its own."""
    for _ in range(3):
        gc.collect()
        await asyncio.sleep(0)


@STREAMED
async def test_s16_a_drained_stream_of_a_client_is_completed(rig: Rig, way: str) -> None:
    """A stream that is read to its end is one completed call, ended once; no success status is set."""
    told = Told()
    async with observed(rig, rig.serve(COUNT), way, callbacks=[told]) as client:
        chunks = await ask(client, way)
        assert rig.open_spans == []
    assert [c.choices[0].delta.content for c in chunks] == ["", "one ", "two ", "three", None]
    assert rig.outline() == "chat gpt-4o"
    assert facts(rig) == ("unset", ("stop",), {"completed": 1})
    assert rig.count("gen_ai.client.inference.duration") == 1
    assert (told.hooks, told.texts) == (["on_llm_start", "on_llm_end"], ["one ", "two ", "three"])


@STREAMED
async def test_s17_break_inside_the_with_of_the_sdk_is_closed(rig: Rig, way: str) -> None:
    """Leaving the SDK's own `with` early ends the span at the exit as closed; nothing about it is an error."""
    told = Told()
    async with observed(rig, rig.serve(COUNT), way, callbacks=[told]) as client:
        async with opened(client, way) as stream:
            async for _ in stream:
                break
            assert rig.open_spans == ["chat gpt-4o"]
        assert rig.open_spans == []
    assert facts(rig) == ("unset", None, {"closed": 1})
    assert told.hooks == ["on_llm_start", "on_llm_end"]


@BARE_STREAMS
@pytest.mark.parametrize("read", [0, 1], ids=["unread", "read"])
async def test_s18_a_dropped_stream_of_a_client_is_abandoned(rig: Rig, way: str, read: int) -> None:
    """Dropped without a word, read or not (20), it ends as abandoned when it is collected: once, and no error."""
    told = Told()
    async with observed(rig, rig.serve(COUNT), way, callbacks=[told]) as client:
        stream = await begin(client, way)
        for _ in range(read):
            await anext(stream)
        assert rig.open_spans == ["chat gpt-4o"]
        del stream
        await collected()
        assert rig.open_spans == []
    assert facts(rig) == ("unset", None, {"abandoned": 1})
    assert told.hooks == ["on_llm_start", "on_llm_end"]


@pytest.mark.parametrize("read", [0, 1], ids=["unread", "read"])
def test_s18_a_stream_dropped_after_its_event_loop(rig: Rig, read: int) -> None:
    """An async stream whose event loop is over before it is dropped is abandoned as well."""
    server = rig.serve(COUNT)
    kept: list[object] = []

    async def main() -> None:
        async with observed(rig, server, "astream") as client:
            stream = await begin(client, "astream")
            kept.append(stream)
            for _ in range(read):
                await anext(stream)

    asyncio.run(main())
    kept.clear()
    gc.collect()
    assert rig.open_spans == []
    assert facts(rig)[2] in ({"abandoned": 1}, {"closed": 1})  # a loop that ends closes generators that were begun


@BARE_STREAMS
async def test_s19_closing_the_stream_ends_at_once(rig: Rig, way: str) -> None:
    """`close()` ends the span at that moment as closed and hangs up; a second one does nothing."""
    server = rig.serve(COUNT)
    async with observed(rig, server, way) as client:
        stream = await begin(client, way)
        await anext(stream)
        await stream.close()
        assert rig.open_spans == []
        await stream.close()
    assert facts(rig) == ("unset", None, {"closed": 1})


async def read_and_raise(
    client: Any, way: str, error: Exception | None, prepare: Callable[[Any, str], None] = lambda stream, way: None
) -> None:
    """Reads a chunk inside the SDK's `with`, and leaves that by this exception."""
    async with opened(client, way) as stream:
        await anext(stream)
        prepare(stream.stream, way)
        if error is not None:
            raise error


@STREAMED
async def test_s21_the_consumers_exception_in_the_with_is_the_recorded_one(rig: Rig, way: str) -> None:
    """What user code raises inside the `with` reaches it unchanged and is what the call failed with."""
    told, error = Told(), ValueError("мой")
    async with observed(rig, rig.serve(COUNT), way, callbacks=[told]) as client:
        with pytest.raises(ValueError, match="мой") as caught:
            await read_and_raise(client, way, error)
        assert rig.open_spans == []
    assert caught.value is error
    assert facts(rig) == ("error", ("error",), {"failed": 1})
    assert rig.span("chat gpt-4o").attributes["error.type"] == "ValueError"
    assert told.errors == [error]


@TWO_STREAMS
async def test_s21_an_older_exception_is_not_the_streams(rig: Rig, way: str) -> None:
    """A stream that is left early while another exception is being handled is closed, not failed."""
    async with observed(rig, rig.serve(COUNT), way) as client:
        try:
            raise KeyError("before")
        except KeyError:
            async with opened(client, way) as stream:
                await anext(stream)
    assert facts(rig) == ("unset", None, {"closed": 1})


@TWO_STREAMS
async def test_s22_an_exception_in_a_bare_loop_leaves_the_stream_abandoned(rig: Rig, way: str) -> None:
    """Without a `with` nobody can see the consumer's exception: it goes on unchanged, the call is abandoned."""
    error = ValueError("мой")

    async def read(client: Any) -> None:
        async for _ in await begin(client, way):
            raise error

    async with observed(rig, rig.serve(COUNT), way) as client:
        with pytest.raises(ValueError, match="мой") as caught:
            await read(client)
        assert caught.value is error
        del caught
        error.__traceback__ = None
        await collected()
        assert rig.open_spans == []
    assert facts(rig) == ("unset", None, {"abandoned": 1})


@TWO_STREAMS
@pytest.mark.parametrize("raises", [True, False], ids=["with an exception", "alone"])
async def test_s23_a_close_that_fails(rig: Rig, way: str, raises: bool) -> None:
    """The user's exception is the one recorded; a failing close alone is recorded, and raised as without us."""
    async with observed(rig, rig.serve(COUNT), way) as client:
        with pytest.raises(OSError, match="close") as caught:
            await read_and_raise(client, way, ValueError("mine") if raises else None, prepare=_break_close)
        assert isinstance(caught.value.__context__, ValueError) is raises
        assert rig.open_spans == []
    assert rig.span("chat gpt-4o").attributes["error.type"] == ("ValueError" if raises else "OSError")


def _break_close(stream: Any, way: str) -> None:
    """Gives the stream's connection back, and then fails as a transport may."""
    inner = stream.response.stream
    name = "aclose" if is_async(way) else "close"
    really = getattr(inner, name)

    def fail() -> None:
        really()
        raise OSError("close")

    async def afail() -> None:
        await really()
        raise OSError("close")

    setattr(inner, name, afail if is_async(way) else fail)


@TWO_STREAMS
async def test_s24_a_bug_of_ours_ends_no_stream(rig: Rig, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where our reading of chunks or of the end fails the consumer's stream goes on; it is logged once."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    async with observed(rig, rig.serve(COUNT), way) as client:
        with monkeypatch.context() as patch:
            patch.setattr(timing.StreamTimes, "note", broken)
            patch.setattr(streams.Tap, "read", broken)
            assert len(await ask(client, way)) == 5
    assert rig.outline() == "chat gpt-4o"
    assert fence.failures() == {("rlm_otel", "timing"): 5, ("rlm_otel", "reader"): 1}
    fence.forget_failures()


@STREAMED
async def test_s25_exhausted_closed_and_collected_is_recorded_once(rig: Rig, way: str) -> None:
    """A stream that ends in several ways, one after the other, is one call, one duration, its tokens once."""
    options = {"stream_options": {"include_usage": True}}
    async with observed(rig, rig.serve(COUNT), way) as client:
        async with opened(client, way, **options) as stream:
            assert len([chunk async for chunk in stream]) == 6
            await stream.close()
        del stream
        await collected()
    assert rig.outline(["rlm.outcome"]) == "chat gpt-4o rlm.outcome=completed"
    assert rig.count("gen_ai.client.inference.duration") == 1
    assert rig.value("gen_ai.client.inference.usage.output_tokens") == 3


@TWO_STREAMS
async def test_s26_streams_read_in_turns_do_not_mix(rigs: Callable[..., Rig], way: str) -> None:
    """Two streams in one thread are two spans, each with its own text."""
    rig = rigs(content="span")
    async with observed(rig, rig.serve(Answer("a b c"), Answer("x y z")), way) as client:
        first, second = await begin(client, way), await begin(client, way)
        for _ in range(5):
            await anext(first)
            await anext(second)
        for stream in (second, first):
            assert [chunk async for chunk in stream] == []
    assert [span.attributes["gen_ai.output.messages"] for span in rig.spans] == [
        f'[{{"role":"assistant","parts":[{{"type":"text","content":"{text}"}}]}}]' for text in ("a b c", "x y z")
    ]
    assert {span.parent_id for span in rig.spans} == {None}


@STREAMED
@pytest.mark.parametrize("how", ["clean_end", "no_finish"])
async def test_s27_a_torn_stream_of_a_client_has_failed(rig: Rig, way: str, how: Any) -> None:
    """A stream without a finish reason has failed, although its consumer sees what the SDK shows: a plain end."""
    told = Told()
    async with observed(rig, rig.serve(Broken(COUNT, how=how, after=3)), way, callbacks=[told]) as client:
        chunks = await ask(client, way)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "one ", "two "]
    assert facts(rig) == ("error", ("error",), {"failed": 1})
    assert rig.span("chat gpt-4o").attributes["error.type"] == "rlm_otel.errors.TornStream"
    assert told.hooks == ["on_llm_start", "on_error"]


@TWO_STREAMS
async def test_s28_pieces_of_choices_and_tools_are_put_together(rigs: Callable[..., Rig], way: str) -> None:
    """Empty chunks, several choices and tool calls in pieces: nothing is invented, and the chunks reach the user."""
    rig = rigs(content="span")
    answer = Answer(("one two", "drei"), tool_calls=[Tool("add", {"a": 1}, id="call_1")], finish_reason="tool_calls")
    async with observed(rig, rig.serve(answer), way) as client:
        chunks = await ask(client, way, n=2)
    assert all(isinstance(chunk, openai.types.chat.ChatCompletionChunk) for chunk in chunks)
    assert rig.span("chat gpt-4o").attributes["gen_ai.response.finish_reasons"] == ("tool_calls", "tool_calls")


@TWO_STREAMS
async def test_s29_the_stream_stays_the_sdks_own(rig: Rig, way: str) -> None:
    """Same class, same attributes, same chunks, one at a time."""
    kind = openai.AsyncStream if is_async(way) else openai.Stream
    gate = threading.Event()
    server = rig.serve(Answer("one two", gate=gate, gate_after=2), Answer("one two"))
    bare = make(server, way)
    async with observed(rig, server, way) as client:
        stream: Any = (await begin(client, way)).stream
        assert [type(stream)] == [kind]
        assert isinstance(stream.response, HTTP.Response)
        assert (stream.response.status_code, stream._cast_to) == (200, openai.types.chat.ChatCompletionChunk)
        assert hasattr(stream._iterator, "aclose" if is_async(way) else "close")
        first = await anext(stream) if is_async(way) else next(stream)  # before the server sends the rest
        gate.set()
        rest = [c async for c in stream] if is_async(way) else list(stream)
        plain = await begin(bare, way)
        unobserved = [chunk async for chunk in plain]
    await close(bare)
    assert [c.model_dump(exclude={"id"}) for c in (first, *rest)] == [c.model_dump(exclude={"id"}) for c in unobserved]
    assert set(vars(stream)) == set(vars(plain.stream))


@TWO_STREAMS
async def test_s30_a_stream_that_is_open_at_shutdown_is_exported(rigs: Callable[..., Rig], way: str) -> None:
    """What is still read when telemetry is shut down ends as abandoned with what had come; reading goes on."""
    rig = rigs(content="span")
    async with observed(rig, rig.serve(COUNT), way) as client:
        stream = await begin(client, way)
        await anext(stream)
        await anext(stream)
        rig.callback.shutdown()
        assert rig.open_spans == []
        assert len([chunk async for chunk in stream]) == 3
    chat = rig.span("chat gpt-4o")
    assert chat.attributes["rlm.outcome"] == "abandoned"
    assert '"content":"one "' in str(chat.attributes["gen_ai.output.messages"])


@STREAMED
async def test_s31_chunks_are_no_span_events(rig: Rig, way: str) -> None:
    """A long stream has no event on its span."""
    async with observed(rig, rig.serve(Answer("word " * 50)), way) as client:
        await ask(client, way)
    assert rig.span("chat gpt-4o").events == ()


@STREAMED
async def test_s32_spans_in_the_loop_are_siblings(rig: Rig, way: str) -> None:
    """What the consumer does with a chunk is beside the model call, not inside it."""
    tracer = rig.tracer_provider.get_tracer("app")
    async with observed(rig, rig.serve(COUNT), way) as client:
        with tracer.start_as_current_span("request"):
            async with opened(client, way) as stream:
                async for chunk in stream:
                    if chunk.choices[0].delta.content == "one ":
                        with tracer.start_as_current_span("work"):
                            pass
    assert rig.outline() == "request\n  chat gpt-4o\n  work"


@TWO_STREAMS
@pytest.mark.parametrize("leave", ["drain", "close"])
async def test_s33_http_spans_of_reads_are_children(rig: Rig, way: str, leave: str) -> None:
    """The call is current while a chunk is read and while the stream is closed, and at no other time."""
    tracer = rig.tracer_provider.get_tracer("http")
    async with observed(rig, rig.serve(COUNT), way) as client:
        stream = await begin(client, way)
        _trace_reads(stream.stream.response.stream, tracer, way)
        if leave == "drain":
            assert len([chunk async for chunk in stream]) == 5
        await stream.close()
    assert set(rig.outline().splitlines()) == {"chat gpt-4o" + (" (closed)" if leave == "close" else ""), "  close"}


def _trace_reads(inner: Any, tracer: Any, way: str) -> None:
    name = "aclose" if is_async(way) else "close"
    really = getattr(inner, name)

    def traced() -> None:
        with tracer.start_as_current_span("close"):
            really()

    async def atraced() -> None:
        with tracer.start_as_current_span("close"):
            await really()

    setattr(inner, name, atraced if is_async(way) else traced)


@pytest.mark.parametrize("way", ["helper", "ahelper"])
async def test_s34_a_convenience_stream_left_early_is_closed(rig: Rig, way: str) -> None:
    """`chat.completions.stream()` closes not the stream but its response: that is seen too."""
    async with observed(rig, rig.serve(Repeat(COUNT)), way) as client:
        async with opened(client, way) as stream:
            await anext(stream)
        async with opened(client, way) as stream:
            await anext(stream)
            await stream.close()
            assert rig.open_spans == []
    assert rig.outline() == "chat gpt-4o (closed)\nchat gpt-4o (closed)"


@pytest.fixture
def collector_off() -> Iterator[None]:
    """httpcore deadlocks where the collector closes a dropped stream while it holds the lock of its pool."""
    gc.disable()
    yield
    gc.enable()


async def test_s35_many_abandoned_streams_leave_nothing_behind(rig: Rig, collector_off: None) -> None:
    """After hundreds of dropped streams nothing is open, and what we held of them is gone."""
    server = rig.serve(Repeat(Answer("one")))
    left: list[weakref.ref[object]] = []
    async with observed(rig, server, "stream") as client:
        for _ in range(200):
            stream = client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
            next(stream)
            left.append(weakref.ref(stream._iterator._tap))
            del stream
            if len(left) % 50 == 0:
                gc.collect()
                assert rig.open_spans == []
    assert [ref for ref in left if ref() is not None] == []
    assert rig.value("rlm.client.operations", rlm_outcome="abandoned") == 200


def test_s19_closed_from_another_thread(rig: Rig) -> None:
    """A stream that another thread closes while it is being read is closed, not torn."""
    gate = threading.Event()
    with ScriptedServer([Answer("one two", gate=gate, gate_after=2)]) as server:
        client = make(server, "stream")
        instrument_openai(client, callbacks=[rig.callback])
        stream = client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
        next(stream)
        thread = threading.Thread(target=stream.close)
        thread.start()
        thread.join()
        gate.set()
        with pytest.raises((*BROKE_OFF, HTTP.StreamError)):
            list(stream)
        client.close()
    assert facts(rig) == ("unset", None, {"closed": 1})


@pytest.mark.parametrize("way", ["stream", "raw_stream"])  # an async one is kept by a generator of the SDK's own
async def test_s35_a_stream_that_was_read_leaves_nothing_to_the_collector(
    rig: Rig, way: str, collector_off: None
) -> None:
    """What we hold of it goes with its last reference, at once: its texts may be large."""
    async with observed(rig, rig.serve(OK), way) as client:
        await ask(client, way)  # the first one fills caches
        view = await begin(client, way)
        tap = weakref.ref(view.stream._iterator._tap)
        assert len([chunk async for chunk in view]) == 5
        await view.close()
        del view
        assert tap() is None


def test_s24_a_stream_that_cannot_be_tapped(rig: Rig) -> None:
    """Should the SDK's stream have its iterator elsewhere one day: the call ends when it returns, the stream works."""

    class Elsewhere(openai.OpenAI):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            stream: Any = super().request(*args, **kwargs)
            stream.elsewhere = vars(stream).pop("_iterator")
            return stream

    client = Elsewhere(base_url=rig.serve(COUNT).base_url, api_key="any")
    instrument_openai(client, callbacks=[rig.callback])
    said: Any = HI
    stream: Any = client.chat.completions.create(model="gpt-4o", messages=said, stream=True)
    assert rig.outline() == "chat gpt-4o"
    assert len(list(stream.elsewhere)) == 5
    client.close()


def test_s24_prices_that_break_harm_no_call(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither does anything else that is worked out at the end."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("rlm_otel.sums.price", broken)
    client = make(rig.serve(COUNT), "create")
    instrument_openai(client, callbacks=[rig.callback])
    assert client.chat.completions.create(model="gpt-4o", messages=HI).choices[0].message.content == "one two three"
    client.close()
    assert fence.failures() == {("rlm_otel", "price"): 1}
    fence.forget_failures()


async def test_s28_an_empty_stream_and_odd_chunks(rig: Rig) -> None:
    """Chunks without choices or with null fields cross unharmed."""
    odd: list[dict[str, object]] = [
        {"choices": []},
        {"id": "x", "choices": [{"index": 0, "delta": None}]},
        {"choices": None},
        {"what": 1},
    ]
    events: list[dict[str, Any] | str] = [*odd, "data: [DONE]\n\n"]
    async with observed(rig, rig.serve(Raw(events=events)), "stream") as client:
        assert len(await ask(client, "stream")) == 4
    assert facts(rig)[2] == {"failed": 1}
